#!/usr/bin/env bash
# kornia: its thin-plate spline meets the control points and is another warp between them. Large: PyTorch with its CUDA libraries is some 2 GB
# to fetch and 6 GB on disk, two to seven minutes. It runs on a CPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 kornia==0.9.0 scipy==1.17.1 numpy==2.4.6
cat > "$folder/case.py" <<'END'
import kornia
import numpy as np
import scipy
import torch
from kornia.geometry.transform import get_tps_transform, warp_points_tps
from scipy.interpolate import RBFInterpolator

line, fine = (torch.linspace(-1, 1, count, dtype=torch.float64) for count in (4, 61))
source, everywhere = torch.cartesian_prod(line, line), torch.cartesian_prod(fine, fine)


def spline(source, target, points):
    return RBFInterpolator(source.numpy(), target.numpy(), kernel="thin_plate_spline", degree=1)(points.numpy())


def in_kornia(source, target, points):
    weights, affine = get_tps_transform(source[None], target[None])
    return warp_points_tps(points[None], target[None], weights, affine)[0].numpy()


def apart(reach):
    """Largest distance of the two warps at the control points and between them, and the largest move, in a picture from -1 to 1."""
    shift = reach * (2 * torch.rand(source.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1)
    target = source + shift
    at, true = [np.abs(warp(source, target, source) - target.numpy()).max() for warp in (in_kornia, spline)]
    between = np.abs(in_kornia(source, target, everywhere) - spline(source, target, everywhere)).max()
    return max(at, true), between, shift.abs().max().item()


print("kornia", kornia.__version__, "SciPy", scipy.__version__, "torch", torch.__version__, "16 control points")
found = [apart(reach) for reach in (0.1, 0.2, 0.3)]
for at, between, move in found:
    print(f"points moved by up to {move:.2f}: both meet them to {at:.0e}; between them kornia and the spline are up to {between:.3f} apart")
print("""Surprise: get_tps_transform and warp_points_tps put the kernels at the targets, not at the points that the warp takes in. The control points
come out exactly, so the usual test passes, but the warp between them is not the one of least bending: here by 15 to 60 % of the movement.
Do: where the true spline matters (a comparison with a paper, weights from other code), use SciPy's RBFInterpolator or solve the system with the
kernels at the source, and test between the control points, not at them.""")
holds = all(at < 1e-9 and between > 0.1 * move for at, between, move in found)
raise SystemExit(0 if holds else 1)
END
cd "$folder"
"$folder/venv/bin/python" case.py || { echo "This no longer holds with these versions." >&2; exit 1; }
