"""Drawn faces: what the picture shows is what the label says, and nothing but the eyes says it."""

import numpy as np
import pytest

from lib.data import gaze_geometry
from lib.data.synthetic import faces, gaze_scene
from lib.data.synthetic import gazecapture as twin
from lib.data.synthetic.gaze_scene import Scene


def pair(gaze_a, gaze_b, *, eyes="small", roll=0.1):
    """The same face before the same wall, looking at two points."""
    head = (1.0, -3.0, 38.0)
    both = [Scene(head_cm=head, gaze_cm=gaze, roll=roll, eyes=eyes) for gaze in (gaze_a, gaze_b)]
    images = []
    for scene in both:
        rng = np.random.default_rng(5)
        images.append(np.array(faces.render(scene, gaze_scene.sample_look(rng), rng), dtype=float).mean(axis=2))
    return both[0], *images


@pytest.mark.parametrize("eyes", ["small", "large"])
def test_gaze_changes_both_eyes_and_nothing_else(eyes):
    scene, first, second = pair((-6, -3), (6, -9), eyes=eyes)
    changed = np.abs(first - second) > 0
    for name in ("left_eye", "right_eye"):
        x, y, w, h = scene.boxes()[name]
        assert changed[y : y + h, x : x + w].sum() > 50
        changed[y : y + h, x : x + w] = False
    assert not changed.any()


@pytest.mark.parametrize(("axis", "gaze_a", "gaze_b"), [(0, (8, -3), (-8, -3)), (1, (1, -1), (1, -8))])
def test_irises_move_as_an_unmirrored_camera_sees_them(axis, gaze_a, gaze_b):
    """Looking to the user's right moves the iris to the left of the picture, looking up moves it up."""
    scene, first, second = pair(gaze_a, gaze_b, eyes="small", roll=0.0)
    x, y, w, h = scene.boxes()["left_eye"]
    change = (first - second)[y : y + h, x : x + w]
    place = np.meshgrid(np.arange(w), np.arange(h))[axis]
    darker_in_first, darker_in_second = np.clip(-change, 0, None), np.clip(change, 0, None)
    centre = [(place * weight).sum() / weight.sum() for weight in (darker_in_first, darker_in_second)]
    assert centre[0] < centre[1] - 1


def test_gaze_can_be_computed_from_head_and_irises():
    """The inverse of the drawing: from an eye's place and its iris back to the point looked at."""
    scene = Scene(head_cm=(2.0, -5.0, 35.0), gaze_cm=(-4.0, -11.0), roll=0.2)
    from_the_eyes_axes = np.array([[np.cos(0.2), np.sin(0.2)], [-np.sin(0.2), np.cos(0.2)]])
    shift = scene.limited_shift_cm() @ from_the_eyes_axes
    direction = -shift / (gaze_scene.GAIN * gaze_scene.EYEBALL_CM)
    forward = np.sqrt(1 - (direction**2).sum(axis=1, keepdims=True))
    eyes = scene.eye_centres_cm()
    np.testing.assert_allclose(eyes[:, :2] + direction / forward * eyes[:, 2:], [[-4, -11], [-4, -11]], atol=1e-9)


def test_shrinking_hides_small_pupils_but_not_large_ones():
    """What the experiment rests on: at 64 x 64 a pupil is about two pixels wide, that of the control twice that."""
    widest_pupil_cm = 2 * 0.68 * 0.5  # of the radii that eyes._sample_eyes draws
    rng, device = np.random.default_rng(0), gaze_geometry.device("iPad Air 2")
    width = {}
    for eyes, scale in gaze_scene.EYE_SCALE.items():
        scenes = [twin._sample_frame(rng, device, 1 + i % 4, (768, 1024), 6.3, eyes)[0] for i in range(100)]
        width[eyes] = np.array([widest_pupil_cm * scale * scene.pixels_per_cm * 64 / scene.size[1] for scene in scenes])
    assert np.median(width["small"]) < 2.2 and np.median(width["large"]) > 3


def test_render_face_is_repeatable_and_refuses_heads_outside():
    image, boxes = faces.render_face(3, gaze_cm=(4, -2), roll_degrees=5)
    again, _ = faces.render_face(3, gaze_cm=(4, -2), roll_degrees=5)
    other, _ = faces.render_face(4, gaze_cm=(4, -2), roll_degrees=5)
    assert image.shape == (640, 480, 3) and image.dtype == np.uint8 and set(boxes) == {"face", "left_eye", "right_eye"}
    np.testing.assert_array_equal(image, again)
    assert (image != other).any()
    with pytest.raises(ValueError, match="outside the frame"):
        faces.render_face(3, head_cm=(30, 0, 40))
