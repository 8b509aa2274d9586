"""Gaze geometry: the device table, points on the glass <-> cm from the camera, and what a sigmoid's outputs mean."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.data import gaze_geometry as geometry
from lib.data.gaze_geometry import CameraTarget, ScreenTarget, camera_to_screen, screen_size_cm, screen_to_camera

ORIENTATIONS = (1, 2, 3, 4)


def screen(device: geometry.Device, orientation: int) -> tuple[int, int]:
    upright = (device.width_points, device.height_points)
    return upright if orientation <= 2 else upright[::-1]


# Worked by hand from apple_device_data.csv and screen2cam.m. iPhone 6: camera 18.61 mm right of the screen's left edge and 8.03
# mm above its top, screen 58.5 x 104.05 mm, 375 x 667 points. iPad Air 2: 76.86, 7.37, 153.71 x 203.11 mm, 768 x 1024 points.
GOLDEN = [
    ("iPhone 6", 1, (375, 667), (0, 0), (-1.861, -0.803)),
    ("iPhone 6", 1, (375, 667), (375, 667), (3.989, -11.208)),
    ("iPhone 6", 1, (375, 667), (187.5, 333.5), (1.064, -6.0055)),
    ("iPhone 6", 3, (667, 375), (0, 0), (0.803, 3.989)),
    ("iPhone 6", 3, (667, 375), (667, 375), (11.208, -1.861)),
    ("iPhone 6", 4, (667, 375), (0, 0), (-11.208, 1.861)),
    ("iPhone 6", 4, (667, 375), (667, 375), (-0.803, -3.989)),
    ("iPad Air 2", 2, (768, 1024), (0, 0), (-7.685, 21.048)),
    ("iPad Air 2", 2, (768, 1024), (768, 1024), (7.686, 0.737)),
]


@pytest.mark.parametrize(("name", "orientation", "size", "point", "expected"), GOLDEN)
def test_screen_to_camera_is_the_released_conversion(name, orientation, size, point, expected):
    found = screen_to_camera([point], device=name, orientation=orientation, screen_points=size)
    np.testing.assert_allclose(found, [expected], atol=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_camera_to_screen_is_the_inverse_for_every_device(orientation):
    rng = np.random.default_rng(orientation)
    for device in geometry.DEVICES.values():
        size = screen(device, orientation)
        points = rng.uniform(0, size, (20, 2))
        camera = screen_to_camera(points, device=device, orientation=orientation, screen_points=size)
        back = camera_to_screen(camera, device=device.name, orientation=orientation, screen_points=size)
        np.testing.assert_allclose(back, points, atol=1e-9)


def test_turning_the_device_turns_the_gaze_about_the_camera():
    """The camera stays where it is: the same spot of glass, seen in each orientation, is the same vector turned by 90 degrees."""
    for device in geometry.DEVICES.values():
        width, height = size = screen(device, 1)
        x, y = np.random.default_rng(0).uniform(0, size, (30, 2)).T
        upright = screen_to_camera(np.stack([x, y], 1), device=device, orientation=1, screen_points=size)
        across, up = upright.T
        turned = {2: ((width - x, height - y), (-across, -up)), 3: ((y, width - x), (-up, across)),
                  4: ((height - y, x), (up, -across))}
        for orientation, (spot, expected) in turned.items():
            held = screen(device, orientation)
            found = screen_to_camera(np.stack(spot, 1), device=device, orientation=orientation, screen_points=held)
            np.testing.assert_allclose(found, np.stack(expected, 1), atol=1e-9)


def test_columns_give_what_single_frames_give():
    names = np.array([name for name in ("iPhone 4s", "iPad Pro", " IPAD mini ", "iPhone 6s Plus") for _ in ORIENTATIONS])
    orientations = np.tile(ORIENTATIONS, 4)
    sizes = np.array([screen(geometry.device(name), o) for name, o in zip(names, orientations, strict=True)])
    points = np.random.default_rng(1).uniform(0, sizes)
    columns = screen_to_camera(points, device=names, orientation=orientations, screen_points=sizes)
    for i in range(len(names)):
        one = screen_to_camera(points[i : i + 1], device=str(names[i]), orientation=orientations[i], screen_points=sizes[i])
        np.testing.assert_array_equal(columns[i : i + 1], one)
        np.testing.assert_array_equal(screen_size_cm(names, orientations)[i], screen_size_cm(str(names[i]), orientations[i]))


def test_display_zoom_changes_points_but_not_centimetres():
    plain = screen_to_camera([[187.5, 333.5]], device="iPhone 6", orientation=1, screen_points=(375, 667))
    zoomed = screen_to_camera([[160, 284]], device="iPhone 6", orientation=1, screen_points=(320, 568))
    np.testing.assert_allclose(plain, zoomed, atol=1e-12)


def test_device_table_covers_the_published_extents():
    """15 devices; the label extents of the release: 13.02 cm for phones, 27.3 cm for the iPad Pro."""
    assert len(geometry.DEVICES) == 15
    for kind, reach in (("iphone", 13.02), ("ipad", 27.284)):
        corners = []
        for device in geometry.DEVICES.values():
            if device.kind != kind:
                continue
            for orientation in ORIENTATIONS:
                w, h = screen(device, orientation)
                box = [(0, 0), (w, 0), (0, h), (w, h)]
                corners.append(screen_to_camera(box, device=device, orientation=orientation, screen_points=(w, h)))
        assert np.abs(np.concatenate(corners)).max() == pytest.approx(reach, abs=1e-6)


def test_names_are_compared_without_case_and_blanks():
    assert geometry.device("  IPHONE 5S ").name == "iPhone 5s"
    assert geometry.kind("ipad air 2") == "ipad" and geometry.kind("iPhone 5c") == "iphone"


def test_unknown_device_and_orientation_say_what_is_known():
    with pytest.raises(ValueError, match="iPhone X.*known: .*iPad Pro") as error:
        geometry.device("iPhone X")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="orientation"):
        screen_size_cm("iPhone 6", 5)


def test_screen_size_turns_with_the_device():
    np.testing.assert_allclose(screen_size_cm("iPad Pro", 1), (19.661, 26.215))
    np.testing.assert_allclose(screen_size_cm("iPad Pro", 4), (26.215, 19.661))


@pytest.fixture
def labels():
    """64 frames of both kinds in all orientations."""
    rng = np.random.default_rng(3)
    devices = np.array([list(geometry.DEVICES.values())[i].name for i in rng.integers(0, 15, 64)])
    orientation = rng.integers(1, 5, 64)
    size = np.array([screen(geometry.device(name), o) for name, o in zip(devices, orientation, strict=True)], dtype=float)
    points = rng.uniform(0, size)
    camera = screen_to_camera(points, device=devices, orientation=orientation, screen_points=size)
    return SimpleNamespace(devices=devices, orientation=orientation, screen_points=points, screen_size_points=size,
                           camera_cm=camera, screen_size_cm=screen_size_cm(devices, orientation))


@pytest.mark.parametrize("target", [CameraTarget(), ScreenTarget()])
def test_encoded_labels_are_in_the_unit_square_and_free_of_error(target, labels):
    encoded = target.encode(labels)
    assert encoded.shape == (64, 2) and encoded.min() >= 0 and encoded.max() <= 1
    np.testing.assert_allclose(target.error_cm(encoded, labels), 0, atol=1e-12)


def test_camera_target_error_by_hand():
    labels = SimpleNamespace(camera_cm=np.array([[0.0, 0.0], [3.0, 4.0]]))
    centre = np.full((2, 2), 0.5)
    np.testing.assert_allclose(CameraTarget().error_cm(centre, labels), (0, 5))
    np.testing.assert_allclose(CameraTarget().encode(labels)[1], (30.5 / 55, 31.5 / 55))


def test_both_targets_measure_the_same_distance(labels):
    """Camera space and the glass differ by a rigid motion: the same wrong guess is the same number of cm away in both."""
    guess = np.random.default_rng(4).uniform(0, labels.screen_size_points)
    size = labels.screen_size_points
    camera = screen_to_camera(guess, device=labels.devices, orientation=labels.orientation, screen_points=size)
    on_screen = ScreenTarget().error_cm(guess / labels.screen_size_points, labels)
    assert on_screen.min() > 0
    np.testing.assert_allclose(on_screen, CameraTarget().error_cm((camera + 27.5) / 55, labels))


def test_labels_outside_are_clipped_for_training_but_not_forgiven():
    """A dot reported 10 points beyond a 100 point, 5 cm wide screen: the best a sigmoid can do misses by half a cm."""
    labels = SimpleNamespace(screen_points=np.array([[110.0, 50.0]]), screen_size_points=np.array([[100.0, 100.0]]),
                             screen_size_cm=np.array([[5.0, 5.0]]))
    encoded = ScreenTarget().encode(labels)
    np.testing.assert_allclose(encoded, [[1.0, 0.5]])
    np.testing.assert_allclose(ScreenTarget().error_cm(encoded, labels), [0.5])


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        CameraTarget().decode(np.zeros(2))
