from __future__ import annotations

import pytest
import torch
from torch.nn.functional import affine_grid, avg_pool2d

from vlp.corpus.augment import _blurred, _grid


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_the_grid_is_that_of_torch(size):
    matrix = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(size))
    rows = [matrix[:, axis].unbind(1) for axis in (0, 1)]
    torch.testing.assert_close(_grid(rows, size), affine_grid(matrix, [5, 1, size, size], align_corners=False))


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 3), (9, 14)])
def test_the_blur_is_the_mean_of_nine_pixels(shape):
    images = torch.rand(3, 1, *shape, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    expected = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(_blurred(images), expected)
    assert torch.equal(images, before)
