"""Resizing against OpenCV's, on frames of the game itself."""

import ale_py
import cv2
import jax
import numpy as np
import pytest

from jaxrl.environments import bilinear_matrix, origin_frame
from jaxrl.environments.atari_game import area_resize


@pytest.fixture(scope="module")
def frames():
    """uint8 [60, 210, 160, 3]: Riverraid, played at random."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 3)
    ale.loadROM(ale_py.roms.get_rom_path("riverraid"))
    actions, draw = ale.getMinimalActionSet(), np.random.default_rng(0)
    seen = []
    for _ in range(60):
        for _ in range(10):
            ale.act(actions[draw.integers(len(actions))])
        seen.append(ale.getScreenRGB())
    return np.stack(seen)


def literal(frame, dtype):
    """What the origin did to a frame, with OpenCV; it did it in uint8."""
    frame = frame[34 : 34 + 160, :160].astype(dtype)
    frame = cv2.resize(frame, (80, 80))
    frame = cv2.resize(frame, (42, 42))
    return frame.mean(2).astype(np.float32)[..., None] / 255


def test_equals_opencv_up_to_its_rounding(frames):
    """OpenCV rounds to whole grey levels twice: half a level is lost each time, a whole one at most."""
    difference = np.abs(np.asarray(origin_frame(frames)) - np.stack([literal(f, np.uint8) for f in frames]))
    assert difference.max() <= 1 / 255
    assert difference.mean() < 0.1 / 255


def test_equals_opencv_without_rounding(frames):
    """In float32 the same weighted sum, of weights that OpenCV computes in float32, where x_i is up to 80."""
    ours = np.asarray(jax.jit(origin_frame)(frames))
    assert ours.shape == (60, 42, 42, 1) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, np.stack([literal(f, np.float32) for f in frames]), rtol=0, atol=5e-6)


def test_any_leading_axes(frames):
    one = np.asarray(origin_frame(frames[0]))
    several = np.asarray(origin_frame(frames.reshape(6, 10, 210, 160, 3)))
    np.testing.assert_allclose(several[0, 0], one, rtol=0, atol=1e-6)
    assert several.shape == (6, 10, 42, 42, 1)


@pytest.mark.parametrize("source, target", [(160, 80), (80, 42), (5, 5), (7, 3), (3, 7), (1, 4), (4, 1)])
def test_bilinear_matrix_is_opencv_s(source, target):
    """OpenCV computes its weights in float32; here they are rounded to it: 2e-5 for pixels of about 1."""
    line = np.random.default_rng(source).normal(size=(source, 1)).astype(np.float32)
    matrix = bilinear_matrix(source, target)
    assert matrix.shape == (target, source)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(matrix @ line, cv2.resize(line, (1, target)), rtol=0, atol=2e-5)


def test_a_hand_worked_resize():
    """4 pixels to 3: the centres fall on 1/6, 3/2 and 17/6."""
    expected = np.array([[5 / 6, 1 / 6, 0, 0], [0, 1 / 2, 1 / 2, 0], [0, 0, 1 / 6, 5 / 6]])
    np.testing.assert_allclose(bilinear_matrix(4, 3), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("source, target", [(0, 3), (3, 0)])
def test_no_pixels_are_refused(source, target):
    with pytest.raises(ValueError, match="at least one pixel"):
        bilinear_matrix(source, target)


@pytest.mark.parametrize(
    "size", [(42, 42), (84, 84), (210, 160), (105, 80), (70, 40), (30, 53), (209, 1), (1, 159), (7, 9)]
)
def test_area_resize_is_opencv_s_to_the_bit(frames, size):
    """Of game frames, which have many ties, and of noise; whole areas (105 x 80, 70 x 40) are summed otherwise."""
    noise = np.random.default_rng(0).integers(256, size=(5, 210, 160), dtype=np.uint8)
    for image in [*frames[:10, ..., 0], *noise]:
        ours = area_resize(image, *size)
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))


def test_a_hand_worked_area():
    """3 pixels to 2: each target covers one and a half. Half a grey level is rounded to the even one."""
    line = np.array([[30, 60, 90]], np.uint8)
    np.testing.assert_array_equal(area_resize(line, 1, 2), [[40, 80]])
    np.testing.assert_array_equal(area_resize(np.array([[1, 2, 2, 3]], np.uint8), 1, 2), [[2, 2]])


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (4, 3), (3, 4)])
def test_area_resize_only_shrinks(size):
    with pytest.raises(ValueError, match="can only be shrunk"):
        area_resize(np.zeros((3, 3), np.uint8), *size)
