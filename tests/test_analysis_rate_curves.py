"""Curves in bits: time sharing between points, and the document that other tools read."""

import json
import math

import numpy as np
import pytest

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.rate_curve import CurveKind, RateCurve, RatePoint
from ae_sweep.analysis.rd_document import rd_document
from ae_sweep.analysis.time_sharing import bits_for, lower_hull, mse_within


def test_a_point_above_the_line_between_others_is_off_the_hull():
    assert lower_hull([(0, 0.1), (50, 0.06), (100, 0.01)]) == (0, 2)
    assert lower_hull([(0, 0.1), (50, 0.05), (100, 0.01)]) == (0, 1, 2)
    assert lower_hull([]) == ()


def test_hull_is_that_of_scipy_where_it_falls():
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(0).uniform(size=(200, 2))
    ours = lower_hull([tuple(point) for point in points])
    hull = ConvexHull(points)
    falling = {
        int(index)
        for index in hull.vertices
        if any(
            equation[1] < 0
            and equation[0] < 0
            and abs(points[index] @ equation[:2] + equation[2]) < 1e-12
            for equation in hull.equations
        )
    }
    assert set(ours) == falling
    assert len(ours) > 4


def test_points_on_a_line_and_equal_ones_are_no_corners():
    assert lower_hull([(0, 4), (1, 3), (2, 2), (2, 2), (3, 2)]) == (0, 2)
    assert lower_hull([(1, 1), (1, 0.5), (0, 2)]) == (2, 1)


def shared(*rows):
    """A curve of rows of bits and MSE on test images, and of the same on validation images."""
    points = tuple(
        RatePoint(bits=bits, mse=mse, psnr=None, val_bits=val_bits, val_mse=val_mse)
        for bits, mse, val_bits, val_mse in rows
    )
    return RateCurve(
        name="code", description="code", kind=CurveKind.CODED, points=points,
        image_shape=(1, 28, 28), images=100,
    )  # fmt: skip


def test_time_is_shared_between_the_points_around_a_rate():
    curve = shared((10, 0.1, None, None), (30, 0.05, None, None), (60, 0.09, None, None))
    assert mse_within(curve, bits=9.9) is None
    assert mse_within(curve, bits=10) == 0.1
    assert mse_within(curve, bits=20) == pytest.approx(0.075)
    assert mse_within(curve, bits=99) == 0.05, "more bits need not be used"
    assert bits_for(curve, mse=0.049) is None
    assert bits_for(curve, mse=0.05) == 30
    assert bits_for(curve, mse=0.06) == pytest.approx(26)
    assert bits_for(curve, mse=0.2) == 10


def test_validation_images_choose_between_which_points_time_is_shared():
    # Lucky on test images: on validation images the middle point is above the line.
    curve = shared((10, 0.1, 10, 0.1), (20, 0.02, 20, 0.08), (30, 0.04, 30, 0.04))
    assert mse_within(curve, bits=20) == pytest.approx(0.07)
    assert bits_for(curve, mse=0.07) == pytest.approx(20)


def test_a_point_at_a_target_in_decibels_reaches_it():
    mse = 10 ** (-22.1 / 10)
    assert (
        bits_for(shared((10, 0.1, None, None), (30, mse * (1 + 1e-15), None, None)), mse=mse) == 30
    )


def point(bits, mse, mean=None, **fields):
    psnr = -10 * math.log10(mse) if mse else None
    return RatePoint(bits=bits, mse=mse, psnr=psnr, mean_image_psnr=mean, **fields)


def curve(points):
    return RateCurve(
        name="mnist-conv",
        description="Latents of conv, coded",
        kind=CurveKind.CODED,
        points=tuple(points),
        image_shape=(1, 28, 28),
        images=10_000,
    )


def test_document_has_ascending_finite_lists_of_one_length():
    document = rd_document(
        curve(
            [
                point(75.5, 0.0063, 22.6, latent_dim=32),
                point(40, 0.02, 17.5, latent_dim=8),
            ]
        )
    )
    assert not isinstance(document, NotApplicable)
    assert document["name"] == "mnist-conv"
    assert document["description"] == "Latents of conv, coded"
    results = document["results"]
    assert list(results) == ["bpp", "psnr-rgb", "psnr", "mse", "bits", "latent_dim"]
    assert results["bpp"] == [40 / 784, 75.5 / 784]
    assert results["bits"] == [40, 75.5]
    assert results["psnr-rgb"] == [17.5, 22.6]
    assert results["psnr"] == pytest.approx([-10 * math.log10(mse) for mse in results["mse"]])
    assert results["mse"] == [0.02, 0.0063]
    assert results["latent_dim"] == [8, 32]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_points_that_have_no_place_in_the_document_are_counted():
    document = rd_document(
        curve([point(0, 0.06, 12), point(500, 0, None), point(60, 0.01), point(90, 0.01, 21)])
    )
    assert not isinstance(document, NotApplicable)
    assert document["results"]["bits"] == [90]
    assert "latent_dim" not in document["results"]
    assert "(3 of 4 points left out: they have no bits" in document["description"]


def test_curve_of_one_point_without_bits_has_no_document():
    refusal = rd_document(curve([point(0, 0.06, 12)]))
    assert isinstance(refusal, NotApplicable)
    assert "no point of mnist-conv has both bits" in refusal.reason


@pytest.mark.parametrize("name", ["psnr-rgb", "mse"])
def test_what_compressai_plots_under_psnr_and_mse_has_a_value_at_each_rate(name):
    # compressai.utils.plot 1.2.8 draws "psnr-rgb" for -m psnr, "mse" for -m mse, over "bpp".
    document = rd_document(curve([point(75.5, 0.0063, 22.6), point(90, 0.005, 23.6)]))
    assert not isinstance(document, NotApplicable)
    assert len(document["results"][name]) == len(document["results"]["bpp"]) == 2
