"""The versions of the code that results and caches depend on. This is all of the code that enters a key.

Raise a number when what the code computes changes, and only then: what was made with the old one is then made again, and nothing else
is. A rename, a docstring, a faster way to the same numbers need nothing. `tests/test_golden.py` computes a few small numbers for each
name, compares them with `tests/golden.json`, and names the version to raise where they differ.

Which names a row depends on is said where its network, its data and its columns are declared: `uses` in `lib.models.network` and
`lib.tables.table`.
"""

VERSIONS = {
    # networks
    "layer": 1,  # lib/models/sampler.py: saliency -> grid -> resampled image
    "grids": 1,  # lib/models/grids/ and successors.py: other ways from the saliency to a grid
    "unzoom": 1,  # lib/models/carry.py and unzoomed.py: maps of a zoomed picture carried back
    "rivals": 1,  # spatial transformers, grid estimator, oracle
    "deformable": 1,
    "cam": 1,
    "dtram": 1,
    "backbones": 2,  # task and saliency networks, small ones included
    "itracker": 2,
    "baselines": 1,  # what looks at nothing: means, constant maps, centre bias, ceilings
    "emlnet": 1,
    "cost": 1,  # the size at which EML-NET's encoder costs as much as behind a sampler; that of other tables is in "backbones"
    "mrcnn": 1,
    "proposal": 1,
    # training
    "training": 1,  # the loop: seeds, order, optimisers, schedules, the epoch that is kept
    "gaze": 1,  # targets and loss
    "classification": 1,  # loss and augmentation
    "saliency": 1,  # losses and augmentation
    # data
    "pictures": 1,  # decoded, put onto their canvas
    "views": 2,  # low_resolution
    "truth": 1,  # fixation maps and fixations at the network's size
    "crops": 1,  # Mr-CNN's crops and squares
    # per-sample values
    "gaze values": 1,
    "classification values": 1,
    "zoom values": 3,  # magnification of boxes, parts, details; distortion
    "saliency values": 1,
    "unzoom values": 1,
    "proposal values": 1,
    # synthetic twins
    "twin gazecapture": 2,
    "twin inaturalist": 2,
    "twin cub200": 2,
    "twin salicon": 1,
    "twin mit1003": 1,
    "twin imagenette": 2,
}


def versions(names) -> dict[str, int]:
    """The numbers of `names`; KeyError, one line, for a name that is not declared."""
    unknown = sorted(set(names) - VERSIONS.keys())
    if unknown:
        raise KeyError(f"no version is declared for {', '.join(unknown)}; add it to lib/versions.py")
    return {name: VERSIONS[name] for name in sorted(set(names))}
