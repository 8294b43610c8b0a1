"""The mathematics, against the papers' formulas in NumPy and against skada, SciPy and scikit-learn."""

import ctypes
import sys
from itertools import islice
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import quad_vec
from sklearn.datasets import make_classification
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tlbench_subspaces.axes import principal_axes
from tlbench_subspaces.classifiers import STRENGTHS, classifier_of
from tlbench_subspaces.coral import coral_map, covariance, power
from tlbench_subspaces.coral_kernel import _glibc_random, libsvm_folds, similarities, votes
from tlbench_subspaces.gfk import flow_map
from tlbench_subspaces.subspace_alignment import alignment
from tlbench_subspaces.transfer_components import class_gaps, domain_gap, representation, transfer_components

Array = np.ndarray


def clouds(ns: int, nt: int, dims: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(ns, dims)) @ rng.normal(size=(dims, dims)) + 1
    return s, rng.normal(size=(nt, dims)) * rng.uniform(0.3, 3, dims) - 2


# ---- CORAL ---------------------------------------------------------------------------------------


def test_the_mapped_source_has_the_covariance_of_the_target() -> None:
    s, t = clouds(200, 150, 6)
    np.testing.assert_allclose(np.cov((s @ coral_map(s, t, 0.0)).T), np.cov(t.T), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("regularisation", [0.0, 1e-5, 1.0])
def test_the_map_is_the_papers_product_of_matrix_powers(regularisation: float) -> None:
    s, t = clouds(80, 50, 5)
    cs, ct = (np.cov(x.T) + regularisation * np.eye(5) for x in (s, t))
    expected = scipy.linalg.inv(scipy.linalg.sqrtm(cs)) @ scipy.linalg.sqrtm(ct)
    np.testing.assert_allclose(coral_map(s, t, regularisation), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("regularisation", [0.0, "ledoit-wolf"])
def test_skada_maps_the_same_where_it_means_the_same(regularisation: Any) -> None:
    """It centres both domains, divides covariances by n, and shrinks features of unit variance."""
    skada = pytest.importorskip("skada")
    s, t = (StandardScaler().fit_transform(x) for x in clouds(90, 90, 5))
    adapter = skada.CORALAdapter(reg=None if regularisation == 0 else "auto")
    both, domains = np.concatenate([s, t]), np.repeat([1, -2], 90)
    theirs = adapter.fit_transform(both, sample_domain=domains)
    np.testing.assert_allclose((s - s.mean(0)) @ coral_map(s, t, regularisation), theirs[:90], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(t - t.mean(0), theirs[90:], atol=1e-12)


def test_the_example_of_adapts_documentation_comes_out() -> None:
    """Covariance difference 0.013181 before and 0.000004 after with 1e-5 I, accuracy 0.86."""
    state = np.random.RandomState(2)
    draws = [
        make_classification(100, 2, n_informative=2, n_redundant=0, n_clusters_per_class=1, shuffle=False,
                            random_state=state)
        for _ in range(2)
    ]  # fmt: skip
    (s, y), (t, _) = (((x - x.min(0)) / (x.max(0) - x.min(0)), y) for x, y in draws)
    adapted = s @ coral_map(s, t, 1e-5)
    for x, expected in ((s, 0.013181), (adapted, 0.000004)):
        assert np.abs(np.cov(x.T) - np.cov(t.T)).mean() == pytest.approx(expected, abs=5e-7)
    assert RidgeClassifier().fit(adapted, y).score(t, np.repeat([1, 0], 50)) == pytest.approx(0.86)


def test_a_covariance_of_one_feature_is_a_matrix_too() -> None:
    x = np.arange(6.0)[:, None]
    assert covariance(x, 1.0) == pytest.approx(np.array([[x.var(ddof=1) + 1]]))
    assert power(np.array([[4.0]]), -0.5) == pytest.approx(np.array([[0.5]]))


# ---- CORAL in its authors' form ------------------------------------------------------------------


def test_similarities_are_inner_products_with_the_adapted_source() -> None:
    s, t = clouds(30, 20, 4)
    a = coral_map(s, t, 1.0)
    expected = [[float(x @ (row @ a)) for row in s] for x in t]
    np.testing.assert_allclose(similarities(t, a, s), expected)
    own = similarities(s, a, s).T
    np.testing.assert_allclose(own, s @ a @ s.T)
    assert not np.allclose(own, own.T)


def test_the_random_numbers_are_those_of_the_c_library() -> None:
    assert list(islice(_glibc_random(1), 5)) == [1804289383, 846930886, 1681692777, 1714636915, 1957747793]
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.srand(1)
    assert list(islice(_glibc_random(1), 1000)) == [libc.rand() for _ in range(1000)]


def test_folds_hold_each_class_in_equal_parts() -> None:
    y = np.random.default_rng(0).permutation(np.repeat([2, 0, 1], [21, 8, 30]))
    for folds in (2, 3, 5):
        fold = libsvm_folds(y, folds)
        assert set(fold) == set(range(folds))
        for label in range(3):
            counts = np.bincount(fold[y == label], minlength=folds)
            assert counts.max() - counts.min() <= 1


def test_votes_are_counted_and_equal_ones_go_to_the_first_class() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.integers(5, size=60)
    svm = SVC(kernel="linear").fit(x, y)
    new = rng.normal(size=(400, 3))
    assert np.array_equal(votes(svm.decision_function(new)).argmax(axis=1), svm.predict(new))
    assert not np.array_equal(svm.decision_function(new).argmax(axis=1), svm.predict(new))


# ---- transfer components -------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["primal", "linear", "rbf"])
@pytest.mark.parametrize("classes", [False, True])
def test_components_solve_the_papers_eigenvalue_problem(kernel: Any, classes: bool) -> None:
    """(K M K + lambda I) w = K H K w / phi, with H and M written out, against a general eigensolver."""
    s, t = clouds(25, 18, 4)
    rng = np.random.default_rng(0)
    both, n = np.concatenate([s, t]), 43
    k = representation(kernel, both, None, unit_length=False)(both)
    gaps = domain_gap(25, 18)
    mmd = np.block([[np.full((25, 25), 1 / 25**2), np.full((25, 18), -1 / (25 * 18))],
                    [np.full((18, 25), -1 / (25 * 18)), np.full((18, 18), 1 / 18**2)]])  # fmt: skip
    if classes:
        ys, yt = rng.integers(3, size=25), rng.integers(3, size=18)
        gaps = np.concatenate([gaps, class_gaps(ys, yt, 3)], axis=1)
        mmd = mmd + _class_mmd(ys, yt)
    mmd = mmd / np.linalg.norm(mmd)
    centring = np.eye(n) - 1 / n
    left, right = k.T @ mmd @ k + 0.1 * np.eye(k.shape[1]), k.T @ centring @ k
    values, vectors = scipy.linalg.eig(np.linalg.solve(left, right))
    order = np.argsort(-values.real)[:3]
    for lengths in ("unit", "whitened"):
        w = transfer_components(k, gaps, 0.1, 3, lengths)  # type: ignore[arg-type]
        np.testing.assert_allclose(right @ w, left @ w * values.real[order], rtol=1e-6, atol=1e-6 * np.abs(right).max())
        cosine = np.abs((w * vectors[:, order].real).sum(0)) / np.linalg.norm(w, axis=0)
        np.testing.assert_allclose(cosine, 1, atol=1e-6)
        if lengths == "whitened":
            np.testing.assert_allclose(w.T @ right @ w, np.eye(3), atol=1e-8)
        else:
            np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1)


def _class_mmd(ys: Array, yt: Array) -> Array:
    """sum_c M_c entry by entry (Long et al. 2013, eq. 6)."""
    y, source = np.concatenate([ys, yt]), np.arange(len(ys) + len(yt)) < len(ys)
    total = np.zeros((len(y), len(y)))
    for c in range(3):
        ns, nt = (ys == c).sum(), (yt == c).sum()
        for i in range(len(y)):
            for j in range(len(y)):
                if y[i] == y[j] == c:
                    part = {(True, True): 1 / ns**2, (False, False): 1 / nt**2}
                    total[i, j] += part.get((bool(source[i]), bool(source[j])), -1 / (ns * nt))
    return total


def test_a_class_that_a_domain_lacks_has_no_gap() -> None:
    gaps = class_gaps(np.array([0, 0, 1, 2]), np.array([0, 2, 2]), 4)
    assert not gaps[:, [1, 3]].any()
    np.testing.assert_allclose(gaps[:, 2], [0, 0, 0, 1, 0, -0.5, -0.5])


def test_components_bring_means_together_and_class_gaps_the_means_of_classes() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(120) % 3
    s = rng.normal(size=(120, 8)) + 2 * np.eye(3, 8)[y]
    t = rng.normal(size=(120, 8)) + 2 * np.eye(3, 8)[y] + 3 * np.eye(3, 8, k=3)[y] + 1
    x, gap, by_class = np.concatenate([s, t]), domain_gap(120, 120), class_gaps(y, y, 3)

    def apart(gaps: Array, w: Array) -> float:
        z = x @ w
        return float(np.linalg.norm(gaps.T @ z) / np.linalg.norm(z - z.mean(0)))

    axes = principal_axes(x, 2).axes
    tca = transfer_components(x, gap, 0.01, 2)
    jda = transfer_components(x, np.concatenate([gap, by_class], axis=1), 0.01, 2)
    assert apart(gap, tca) < 0.2 * apart(gap, axes)
    assert apart(by_class, jda) < 0.2 * apart(by_class, tca)


def test_no_more_components_are_given_than_the_examples_span() -> None:
    x = np.random.default_rng(0).normal(size=(7, 3)) @ np.ones((3, 12))
    assert transfer_components(x, domain_gap(4, 3), 1.0, 10).shape == (12, 1)


def test_kernels_are_those_of_the_examples() -> None:
    s, t = clouds(9, 6, 3)
    both = np.concatenate([s, t])
    squared = ((t[:, None] - both[None]) ** 2).sum(2)
    np.testing.assert_allclose(representation("linear", both, None, False)(t), t @ both.T)
    np.testing.assert_allclose(representation("rbf", both, 0.3, False)(t), np.exp(-0.3 * squared))
    pairs = ((both[:, None] - both[None]) ** 2).sum(2)[~np.eye(15, dtype=bool)]
    np.testing.assert_allclose(representation("rbf", both, None, False)(t), np.exp(-squared / np.median(pairs)))
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(representation("linear", both, None, True)(both), unit @ unit.T)
    np.testing.assert_allclose(np.linalg.norm(representation("primal", both, None, True)(both), axis=1), 1)


# ---- subspaces -----------------------------------------------------------------------------------


def test_the_alignment_is_the_best_linear_map_of_the_axes() -> None:
    s, t = (principal_axes(x, 3).axes for x in clouds(40, 30, 7))
    np.testing.assert_allclose(alignment(s, t), np.linalg.lstsq(s, t)[0], atol=1e-12)


def test_subspace_alignment_has_the_distances_of_skada() -> None:
    skada = pytest.importorskip("skada")
    s, t = clouds(40, 30, 7)
    theirs = skada.SubspaceAlignmentAdapter(n_components=3, random_state=0).fit_transform(
        np.concatenate([s, t]), sample_domain=np.repeat([1, -2], [40, 30])
    )
    (mean_s, p), (mean_t, q) = principal_axes(s, 3), principal_axes(t, 3)
    ours = np.concatenate([(s - mean_s) @ p @ alignment(p, q), (t - mean_t) @ q])
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, rtol=1e-6, atol=1e-8)


def test_the_flow_kernel_is_the_integral_over_the_geodesic() -> None:
    """Phi(t) = P_S U cos(t Theta) + R V' sin(t Theta), R an orthonormal complement of P_S, integrated numerically."""
    p, q = (principal_axes(x, 3).axes for x in clouds(40, 30, 9))
    rest = scipy.linalg.null_space(p.T)
    u, cosine, vt = np.linalg.svd(p.T @ q)
    theta = np.arccos(np.clip(cosine, -1, 1))
    across = rest.T @ q @ vt.T / np.sin(theta)
    np.testing.assert_allclose(across.T @ across, np.eye(3), atol=1e-10)

    def phi(t: float) -> Array:
        return p @ u * np.cos(t * theta) + rest @ across * np.sin(t * theta)

    np.testing.assert_allclose(phi(0) @ phi(0).T, p @ p.T, atol=1e-10)
    np.testing.assert_allclose(phi(1) @ phi(1).T, q @ q.T, atol=1e-10)
    integral = quad_vec(lambda t: phi(t) @ phi(t).T, 0, 1)[0]
    flow = flow_map(p, q)
    np.testing.assert_allclose(flow @ flow.T, integral, atol=1e-8)


def test_the_flow_between_equal_subspaces_is_the_projection() -> None:
    p = principal_axes(clouds(40, 30, 5)[0], 3).axes
    for other in (p, -p[:, ::-1], p @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]):
        flow = flow_map(p, other)
        np.testing.assert_allclose(flow @ flow.T, p @ p.T, atol=1e-7)
    whole = flow_map(np.eye(3), np.eye(3))  # as many axes as features: nothing is left to turn into
    np.testing.assert_allclose(whole @ whole.T, np.eye(3), atol=1e-7)


def test_small_angles_are_not_lost() -> None:
    p = np.eye(4)[:, :1]
    for angle in (1e-9, 1e-6, 1e-3):
        flow = flow_map(p, np.array([[np.cos(angle)], [np.sin(angle)], [0], [0]]))
        kernel = flow @ flow.T
        assert kernel[0, 0] == pytest.approx(1)
        assert kernel[0, 1] == pytest.approx(angle / 2, rel=1e-3, abs=1e-10)


def test_orthogonal_subspaces_flow_over_a_quarter_turn() -> None:
    flow = flow_map(np.eye(4)[:, :1], np.eye(4)[:, 1:2])
    expected = np.zeros((4, 4))
    expected[:2, :2] = [[0.5, 1 / np.pi], [1 / np.pi, 0.5]]
    np.testing.assert_allclose(flow @ flow.T, expected, atol=1e-12)


def test_axes_are_principal_and_no_more_than_there_are() -> None:
    x = clouds(50, 10, 6)[0]
    mean, axes = principal_axes(x, 3)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(np.abs(vectors[:, ::-1][:, :3].T @ axes), np.eye(3), atol=1e-8)
    np.testing.assert_allclose(mean, x.mean(0))
    assert values[0] > 0
    assert principal_axes(x, 100).axes.shape == (6, 6)
    assert principal_axes(x[:4], 100).axes.shape == (6, 3)


# ---- classifiers ---------------------------------------------------------------------------------


def test_the_nearest_neighbour_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x, y, new = rng.normal(size=(200, 4)), rng.integers(6, size=200), rng.normal(size=(3000, 4))
    scores = classifier_of("1-nn", x, y, 6)(new)
    assert np.array_equal(scores.argmax(axis=1), KNeighborsClassifier(1).fit(x, y).predict(new))
    np.testing.assert_allclose(-scores.max(axis=1), KNeighborsClassifier(1).fit(x, y).kneighbors(new)[0][:, 0])


def test_the_svm_is_the_one_that_a_grid_search_finds() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=120)
    x, new = rng.normal(size=(120, 5)) + np.eye(3, 5)[y], rng.normal(size=(300, 5))
    unit = np.sqrt((x**2).mean())
    search = GridSearchCV(SVC(kernel="linear"), {"C": STRENGTHS}, cv=StratifiedKFold(5)).fit(x / unit, y)
    np.testing.assert_allclose(classifier_of("svm", x, y, 3)(new), search.decision_function(new / unit), atol=1e-6)


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_the_units_of_the_features_do_not_matter(kind: Any) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=90)
    x, new = rng.normal(size=(90, 5)) + np.eye(3, 5)[y], rng.normal(size=(100, 5))
    plain, large = (classifier_of(kind, x * by, y, 3)(new * by) for by in (1.0, 1e6))
    np.testing.assert_allclose(plain, large, atol=1e-4)


@pytest.mark.parametrize("kind", ["1-nn", "svm", "logistic"])
@pytest.mark.parametrize("labels", [[1, 3], [0, 1, 3], [2]])
def test_a_class_without_examples_is_never_predicted(kind: Any, labels: list[int]) -> None:
    rng = np.random.default_rng(0)
    y = np.array(labels)[np.arange(40) % len(labels)]
    x = rng.normal(size=(40, 4)) + 5 * np.eye(4)[y]
    scores = classifier_of(kind, x, y, 5)(x)
    assert scores.shape == (40, 5)
    assert (scores.argmax(axis=1) == y).mean() > 0.85
    absent = np.setdiff1d(np.arange(5), labels)
    assert (scores[:, absent].max(axis=1) < scores[:, labels].min(axis=1)).all()
