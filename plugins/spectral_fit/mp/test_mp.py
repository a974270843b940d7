"""The laws against quadrature and published values, the fit against matrices whose noise and spikes are known."""

import json
import math

import numpy as np
import pytest
import torch
from prunery_plugins.spectral_fit.mp import lapack
from prunery_plugins.spectral_fit.mp.core import eigenvalues, hill_exponent
from prunery_plugins.spectral_fit.mp.law import mp_cdf, mp_quantile, spike_strength, tw1_cdf, tw1_quantile
from scipy.integrate import quad

from prunery.registry import registry

SIGMA = 0.02
AUTHORS = {"beta": 0.8, "refits": 0, "exponent": "coded", "ranks": "coded"}


def fit(matrix, **settings):
    row = registry().configured("spectral_fit", "mp", settings).fit(matrix)
    json.dumps(row, allow_nan=False)
    return row


def planted(rows, columns, strengths, seed):
    """Noise of SIGMA and orthogonal spikes, in units of the strength at which a spike leaves the bulk."""
    generator = torch.Generator().manual_seed(seed)
    noise = SIGMA * torch.randn(rows, columns, generator=generator)
    if not strengths:
        return noise
    left, right = (torch.linalg.qr(torch.randn(n, len(strengths), generator=generator)).Q for n in (rows, columns))
    return noise + SIGMA * (rows * columns) ** 0.25 * (left * torch.tensor(strengths)) @ right.T


@pytest.mark.parametrize("gamma", [0.001, 0.1, 1 / 3, 0.9, 1.0])
def test_cdf_is_the_integral_of_the_density(gamma):
    low, high = (1 - gamma**0.5) ** 2, (1 + gamma**0.5) ** 2

    def integrand(angle):  # x = low + (high - low) sin^2(angle): the density's roots at both edges disappear
        x = low + (high - low) * math.sin(angle) ** 2
        return (high - low) ** 2 * 2 * (math.sin(angle) * math.cos(angle)) ** 2 / (2 * math.pi * gamma * x)

    for x in np.linspace(low, high, 17)[1:-1]:
        numeric = quad(integrand, 0, math.asin(math.sqrt((x - low) / (high - low))), epsabs=1e-12)[0]
        assert mp_cdf(x, gamma) == pytest.approx(numeric, abs=1e-10)
    assert mp_cdf([low / 2, high * 2], gamma).tolist() == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize("gamma", [0.001, 0.25, 0.999, 1.0])
def test_quantile_inverts_the_cdf(gamma):
    shares = np.linspace(1e-6, 1 - 1e-6, 501)
    assert np.abs(mp_cdf(mp_quantile(shares, gamma), gamma) - shares).max() < 1e-8


def test_tracy_widom_moments_and_quantiles():
    grid = np.linspace(-10, 8, 1801)
    cdf = np.array([tw1_cdf(s) for s in grid])
    mean = 8 - np.trapezoid(cdf, grid)
    variance = 64 - np.trapezoid(2 * grid * cdf, grid) - mean**2
    assert mean == pytest.approx(-1.2065336, abs=1e-5)
    assert variance == pytest.approx(1.6077810, abs=1e-4)
    # published: Tracy and Widom; Johnstone 2001; Bejan 2005
    for share, value in {0.5: -1.26857, 0.9: 0.45014, 0.95: 0.97931, 0.99: 2.02345}.items():
        assert tw1_quantile(share) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("shape", [(512, 512), (512, 2048), (2048, 512), (768, 3072)])
@pytest.mark.parametrize("strengths", [(), (1.5, 2.0, 3.0, 8.0), (30.0, 1.5)])
def test_known_noise_and_spikes_are_recovered(shape, strengths):
    edge = SIGMA * (shape[0] ** 0.5 + shape[1] ** 0.5)
    for seed in range(3):
        row = fit(planted(*shape, strengths, seed))
        assert row["sigma_plus"] == pytest.approx(edge, rel=0.01)
        assert row["sigma_edge"] == pytest.approx(edge, rel=0.01)
        assert row["sigma_hat"] == pytest.approx(SIGMA, rel=0.01)
        assert row["spikes"] == len(strengths)
        assert row["fit_error"] < 0.02


def test_figures_of_one_matrix_agree_with_each_other():
    matrix = planted(96, 200, (2.0, 5.0), 1)
    row, singular = fit(matrix), torch.linalg.svdvals(matrix.double())
    assert (row["rows"], row["columns"], row["gamma"]) == (96, 200, 0.48)
    assert row["lambda_plus"] == pytest.approx(row["sigma_plus"] ** 2 / 200)
    assert row["spikes"] == int((singular > row["spike_edge"]).sum()) == 2
    assert row["outliers"] == int((singular > row["sigma_plus"]).sum())
    assert row["bulk_fraction"] == pytest.approx(1 - row["outliers"] / 96)
    assert row["spike_mass"] == pytest.approx(float((singular[:2] ** 2).sum() / (singular**2).sum()), rel=1e-4)
    assert row["largest"][:2] == pytest.approx((singular[:2] ** 2 / 200).tolist(), rel=1e-4)
    assert sum(row["histogram"]) + row["histogram_beyond"] == 96


def test_authors_settings_follow_their_formula():
    matrix = planted(64, 256, (), 0)
    values = (torch.linalg.svdvals(matrix.double()) ** 2 / 256).numpy()[::-1]
    ranks = np.arange(16, 48)
    quantiles = mp_quantile(ranks / 64, 0.25)
    variance = (quantiles * values[ranks]).sum() / (quantiles**2).sum()
    shift = tw1_quantile(0.2) * 256 ** (-2 / 3) * 0.25 ** (-1 / 6)
    for exponent, width in {"coded": 1.5**4 / 3, "standard": 1.5 ** (4 / 3)}.items():
        row = fit(matrix, **{**AUTHORS, "exponent": exponent})
        assert row["sigma_plus"] == pytest.approx((256 * variance * (1.5**2 + shift * width)) ** 0.5, rel=1e-5)
    empirical = 0.25 + 0.5 * np.arange(32) / 32
    assert row["fit_error"] == pytest.approx(np.abs(mp_cdf(values[ranks] / variance, 0.25) - empirical).max(), abs=1e-5)


def test_refit_removes_the_bias_that_spikes_cause():
    matrix = planted(64, 64, (4.0,) * 6, 3)
    plain, refitted = (fit(matrix, refits=refits)["sigma_hat"] / SIGMA - 1 for refits in (0, 1))
    assert plain > 0.05
    assert abs(refitted) < 0.03


def test_orientation_does_not_matter():
    matrix = planted(48, 160, (3.0,), 0)
    wide, tall = fit(matrix), fit(matrix.T.contiguous())
    assert wide["sigma_plus"] == pytest.approx(tall["sigma_plus"], rel=1e-6)
    assert wide["spikes"] == tall["spikes"] == 1


@pytest.mark.parametrize("strength", [0.0, 1e3])
def test_eigenvalues_use_double_precision_when_needed(strength):
    matrix = planted(128, 128, (strength,), 0)
    exact = torch.linalg.svdvals(matrix.double()).numpy()[::-1] ** 2
    found = eigenvalues(matrix, 0.25)
    assert np.abs(found / exact - 1)[32:].max() < 1e-4


def test_hill_exponent_of_a_power_law():
    values = np.sort(np.array([2.0**-k for k in range(30)]))
    mean = sum(math.log(2) * (20 - k) for k in range(20)) / 20
    assert hill_exponent(values) == pytest.approx(1 + 1 / mean)
    assert hill_exponent(np.ones(30)) == hill_exponent(np.array([1.0, 2.0])) == 99.0


@pytest.mark.parametrize("shape", [(512, 512), (256, 1024), (1024, 256)])
def test_strengths_of_spikes_are_what_was_planted(shape):
    planted_at = np.array([8.0, 4.0, 3.0])
    row = fit(planted(*shape, tuple(planted_at.tolist()), 5))
    found = np.array(row["spike_strengths"]) / (SIGMA * (shape[0] * shape[1]) ** 0.25)
    assert found == pytest.approx(planted_at, rel=0.03)
    seen = np.sqrt(np.array(row["largest"][:3]) * max(shape)) / (SIGMA * (shape[0] * shape[1]) ** 0.25)
    assert (seen / planted_at > 1.05).tolist() == [False, True, True]  # noise adds to what is seen


def test_strength_of_a_spike_in_a_square_matrix_as_published():
    """(s + sqrt(s^2 - 4 g)) / 2 with g = 1; none below the edge s = 2."""
    assert spike_strength(np.array([9.0, 4.0]), 1.0) == pytest.approx([(3 + 5**0.5) / 2, 1.0])
    theta, gamma = 1.7, 0.3
    seen = (1 + theta**2) * (gamma + theta**2) / theta**2
    assert float(spike_strength(seen, gamma)) == pytest.approx(theta)


def test_the_bare_edge_has_no_tracy_widom_term():
    matrix = planted(96, 200, (5.0,), 1)
    row, bare = fit(matrix), fit(matrix, edge="bare", beta=0.4)
    assert bare["sigma_plus"] == bare["sigma_edge"] == row["sigma_edge"]
    assert bare["lambda_plus"] == pytest.approx(bare["sigma_edge"] ** 2 / 200)
    assert bare["sigma_plus"] < row["sigma_plus"]
    assert bare["spike_edge"] == row["spike_edge"]


def test_fits_that_are_not_accepted_say_so():
    heavy = torch.from_numpy(np.random.default_rng(0).standard_cauchy((64, 96))).float()
    error = fit(heavy)["fit_error"]
    assert error > 0.1
    row = fit(heavy, accept=0.1)
    assert set(row) == {"fitted", "rows", "columns", "hill", "fit_error", "reason"}
    assert row["fitted"] is False
    assert row["fit_error"] == error
    assert row["reason"] == f"the fit error {error:.3g} exceeds accept, 0.1"
    assert fit(planted(64, 96, (), 0), accept=0.1)["fitted"]


DEGENERATE = {
    "zero": torch.zeros(16, 32),
    "rank one": torch.outer(torch.arange(1.0, 17), torch.arange(1.0, 33)),
    "mostly zero rows": torch.cat(
        [torch.randn(3, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(20, 32)]
    ),
    "small": torch.ones(3, 50),
    "one by one": torch.ones(1, 1),
    "one row": torch.arange(20.0)[None],
    "one column": torch.arange(20.0)[:, None],
    "constant": torch.full((24, 40), 0.3),
    "not finite": torch.full((16, 16), math.inf),
    "not a number": torch.ones(16, 16).fill_diagonal_(math.nan),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_matrices_say_why_they_are_not_fitted(name):
    row = fit(DEGENERATE[name])
    assert row["fitted"] is False
    assert row["reason"]
    assert "\n" not in row["reason"]
    assert 1 < row["hill"] <= 99


def test_the_smallest_matrices_with_the_lowest_edge():
    row = fit(planted(4, 4, (), 0), **{**AUTHORS, "beta": 0.99}, smallest=4)
    assert row["sigma_plus"] == 0
    assert row["bulk_fraction"] == 0


def test_masked_and_orthogonal_matrices_are_fitted():
    mask = torch.rand(128, 256, generator=torch.Generator().manual_seed(1)) < 0.3
    masked = fit(planted(128, 256, (), 0) * mask)
    assert masked["fitted"]
    assert masked["sigma_hat"] == pytest.approx(SIGMA * 0.3**0.5, rel=0.02)
    assert fit(torch.eye(32))["spikes"] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 200])
def test_eigenvalues_equal_numpys(dtype: type, n: int) -> None:
    half = np.random.default_rng(n).standard_normal((n, n)).astype(dtype)
    matrix = half @ half.T
    known = np.linalg.eigvalsh(matrix.astype(np.float64))
    assert lapack._driver("ssyevd") is not None
    found = lapack.eigvalsh(matrix)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, known, atol=50 * np.finfo(dtype).eps * known[-1])


def test_another_build_of_scipy_falls_back_on_numpy(monkeypatch) -> None:
    monkeypatch.setattr(lapack, "_driver", lambda name: None)
    np.testing.assert_allclose(lapack.eigvalsh(np.diag([3.0, 1.0, 2.0])), [1, 2, 3])
