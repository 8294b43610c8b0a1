"""GCN, GCN with DANN and structural features: formulas, problems, the contract, and the pitfalls."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import tlbench_relational
import torch
from tlbench_relational.convolution import GraphConvolutions, Nodes, OnGraph, propagation
from tlbench_relational.gcn import GCN
from tlbench_relational.gcn_dann import GCNDANN
from tlbench_relational.node_attributes import NodeAttributes
from tlbench_relational.refex import adjacency, aggregated, choose, compute, distinct, local_features, log_bins
from tlbench_relational.structural_features import StructuralFeatures
from torch.nn import functional as F

from tlbench import Batch, Domain, Graph, Recipe, Shape, SkipTrial, Split, Step
from tlbench.builtin.references import SourceOnly
from tlbench.builtin.tasks import NodeClassification
from tlbench.functional import reverse_gradient
from tlbench.testing import Toy, check_backbone, check_beats, check_strategy, score, two_graphs
from tlbench.testing.toys import fit

nx = pytest.importorskip("networkx")

METHODS = [
    GCN(), GCN(hidden=8, layers=3, dropout=0.0, fine_tune=0.0), GCN(layers=1),
    GCNDANN(), GCNDANN(hidden=8, weight=0.1),
    StructuralFeatures(trees=20), StructuralFeatures(rounds=0, values="log", trees=5),
]  # fmt: skip


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_its_parts() -> None:
    assert tlbench_relational.tlbench_strategies() == [GCN, GCNDANN, StructuralFeatures]
    assert tlbench_relational.tlbench_backbones() == [NodeAttributes]
    assert [c.name for c in tlbench_relational.tlbench_datasets()] == ["citation-network"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GCN(hidden=0), "hidden must be at least 1, got 0"),
        (lambda: GCN(layers=0), "layers must be at least 1, got 0"),
        (lambda: GCN(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: GCN(fine_tune=1.0), r"fine_tune must be in \[0, 1\), got 1.0"),
        (lambda: GCN(fine_tune_lr=0.0), "fine_tune_lr must be positive, got 0.0"),
        (lambda: GCNDANN(layers=1), "layers must be at least 2, got 1"),
        (lambda: GCNDANN(weight=-1.0), "weight must not be negative, got -1.0"),
        (lambda: StructuralFeatures(rounds=-1), "rounds must not be negative, got -1"),
        (lambda: StructuralFeatures(share=1.0), r"share must be in \(0, 1\), got 1.0"),
        (lambda: StructuralFeatures(trees=0), "trees must be at least 1, got 0"),
        (lambda: NodeAttributes(hidden=()), "hidden needs at least one positive width"),
        (lambda: NodeAttributes(dropout=-0.1), r"dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


# ---- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [GCN(), GCN(layers=3), GCNDANN()], ids=str)
def test_neighbours_tell_what_a_nodes_own_attributes_do_not(strategy: Any) -> None:
    check_beats(strategy, two_graphs(), margin=0.25)


def test_communities_have_no_shape_of_their_own() -> None:
    """What tells the classes of that problem apart is in the attributes; structure alone is at chance, one in three."""
    assert score(StructuralFeatures(), two_graphs()) < 0.5


def roles() -> Toy:
    """Centres of stars, ends of stars, members of cliques, links of chains; attributes are noise, the same in both."""
    rng = np.random.default_rng(2)

    def domain(name: str, pieces: int) -> Domain:
        graph, role = nx.Graph(), []
        for _ in range(pieces):
            for make, size, names in (
                (nx.star_graph, int(rng.integers(4, 8)), (0, 1)),
                (nx.complete_graph, int(rng.integers(4, 7)), (2,)),
                (nx.path_graph, int(rng.integers(4, 8)), (3,)),
            ):
                piece, first = make(size), len(role)
                graph = nx.disjoint_union(graph, piece)
                role += [names[0] if n == 0 else names[-1] for n in piece]
                if first:  # each piece hangs on the ones before by one edge
                    graph.add_edge(int(rng.integers(first)), first + int(rng.integers(len(piece))))
        y = np.array(role)
        x = rng.normal(size=(len(y), 6)).astype(np.float32)
        edges = np.array(list(graph.edges)).T
        edges = np.concatenate([edges, edges[::-1]], axis=1)
        rows = rng.permutation(len(y))
        parts = {"train": rows[: len(y) // 2], "test": rows[len(y) // 2 :]}
        splits = {n: Split({"attributes": x[r], "node": r.copy()}, y[r]) for n, r in parts.items()}
        return Domain(name, splits, ("centre", "end", "clique", "chain"), "graph", graph=Graph(x, edges))

    recipe = Recipe(steps=150, batch_size=64, lr=1e-2, schedule="constant")
    return Toy(domain("one", 30), domain("other", 60), NodeClassification(), NodeAttributes(hidden=(16,)), recipe)


@pytest.mark.parametrize("strategy", [StructuralFeatures(), StructuralFeatures(values="log")], ids=str)
def test_a_role_is_known_by_its_surroundings_in_another_graph(strategy: Any) -> None:
    check_beats(strategy, roles(), margin=0.3)


@pytest.mark.parametrize("strategy", [GCN(fine_tune=0.5), StructuralFeatures()], ids=str)
def test_labels_of_the_target_are_used_where_there_are_any(strategy: Any) -> None:
    """The target's classes are the source's under other names: only the target's labels can tell."""
    toy = roles() if strategy.name == "structural-features" else two_graphs()
    classes = toy.source.num_classes

    def renamed(labels: int) -> Toy:
        splits = {n: Split(s.x, (s.y + 1) % classes) for n, s in toy.target.splits.items()}
        target = Domain("renamed", splits, toy.target.label_names, "graph", graph=toy.target.graph)
        return Toy(toy.source, target, NodeClassification(labels), toy.backbone, toy.recipe)

    without, few = score(strategy, renamed(0)), score(strategy, renamed(15))
    assert without < 0.3
    assert few > without + 0.1


# ---- graph convolution ---------------------------------------------------------------------------


def random_graph(nodes: int, seed: int, share: float = 0.2) -> tuple[Any, Any]:
    """Edges in both directions [2, E] and the dense adjacency [N, N], with a node that has none."""
    rng = np.random.default_rng(seed)
    a = np.triu(rng.random((nodes, nodes)) < share, 1).astype(float)
    a[-1] = a[:, -1] = 0
    a += a.T
    return np.array(np.nonzero(a)), a


def dense_propagation(a: Any) -> Any:
    hat = a + np.eye(len(a))
    root = np.diag(hat.sum(1) ** -0.5)
    return root @ hat @ root


@pytest.mark.parametrize("seed", range(3))
def test_the_propagation_is_the_papers_normalised_adjacency(seed: int) -> None:
    edges, a = random_graph(15, seed)
    found = propagation(torch.from_numpy(edges), 15).to_dense().numpy()
    np.testing.assert_allclose(found, dense_propagation(a), rtol=1e-6)
    assert found[-1, -1] == 1.0


def test_loops_and_repeated_edges_count_once() -> None:
    edges, a = random_graph(10, 0)
    loops = np.array([[2, 5], [2, 5]])
    twice = torch.from_numpy(np.concatenate([edges, loops, edges[:, :4]], axis=1))
    np.testing.assert_allclose(propagation(twice, 10).to_dense().numpy(), dense_propagation(a), rtol=1e-6)


@pytest.mark.parametrize("filled", [0.05, 1.0])
def test_the_layers_are_the_papers_formula_in_dense_numpy(filled: float) -> None:
    """Sparse and dense attributes alike, with dropout off."""
    rng = np.random.default_rng(4)
    edges, a = random_graph(20, 1)
    x = (rng.normal(size=(20, 40)) * (rng.random((20, 40)) < filled)).astype(np.float32)
    torch.manual_seed(0)
    net = GraphConvolutions(40, 7, 3, layers=3, dropout=0.5).eval()
    with torch.no_grad():
        for bias in net.biases:
            bias.normal_()
    nodes = Nodes.of(Graph(torch.from_numpy(x), torch.from_numpy(edges)))
    assert nodes.attributes.is_sparse == (filled < 0.1)
    p, h = dense_propagation(a), x.astype(float)
    weights = [w.detach().double().numpy() for w in net.weights]
    biases = [b.detach().double().numpy() for b in net.biases]
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h = np.maximum(p @ h @ w + b, 0)
    np.testing.assert_allclose(net.encode(nodes).detach().numpy(), h, atol=1e-5)
    np.testing.assert_allclose(net(nodes).detach().numpy(), p @ h @ weights[-1] + biases[-1], atol=1e-5)
    picked = torch.tensor([3, 3, 19])
    assert torch.equal(OnGraph(net, nodes)({"node": picked}), net(nodes)[picked])


def test_sparse_attributes_have_the_gradient_of_dense_ones() -> None:
    edges, _ = random_graph(20, 1)
    x = torch.zeros(20, 40)
    x[torch.arange(20), torch.arange(20)] = 1.5
    net = GraphConvolutions(40, 7, 3, layers=2, dropout=0.0)
    p = propagation(torch.from_numpy(edges), 20)
    grads = []
    for attributes in (x, x.to_sparse()):
        net.zero_grad()
        net(Nodes(attributes, p)).square().sum().backward()
        grads.append([w.grad.clone() for w in net.weights])  # type: ignore[union-attr]
    for dense, sparse in zip(*grads, strict=True):
        torch.testing.assert_close(dense, sparse)


def test_dropout_of_sparse_attributes_keeps_their_mean_and_stops_in_evaluation() -> None:
    x = torch.zeros(400, 50)
    x[:, 0] = 1.0
    net = GraphConvolutions(50, 1, 1, layers=1, dropout=0.5)
    with torch.no_grad():
        net.weights[0].fill_(1.0)
    nodes = Nodes(x.to_sparse(), propagation(torch.empty(2, 0, dtype=torch.int64), 400))
    torch.manual_seed(0)
    out = net(nodes).detach()
    assert sorted(set(out.flatten().tolist())) == [0.0, 2.0]
    assert float(out.mean()) == pytest.approx(1.0, abs=0.15)
    assert torch.equal(net.eval()(nodes), torch.ones(400, 1))


def test_mixed_precision_leaves_the_convolutions_in_float32() -> None:
    edges, _ = random_graph(20, 1)
    nodes = Nodes.of(Graph(torch.randn(20, 4), torch.from_numpy(edges)))
    net = GraphConvolutions(4, 5, 3, layers=2, dropout=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(nodes)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, net(nodes))


class Recorder:
    """A context of two small graphs that keeps losses and what is to be updated, and trains nothing."""

    num_classes, seed, device, steps_left = 2, 0, torch.device("cpu"), 10

    def __init__(self, pools: tuple[str, ...]) -> None:
        self.pools = dict.fromkeys(pools, 5)
        self.trained: list[Any] = []
        torch.manual_seed(0)
        self.graphs = {}
        for seed, role in enumerate(("source", "target")):
            edges, _ = random_graph(12, seed, 0.4)
            self.graphs[role] = Graph(torch.randn(12, 4) + seed, torch.from_numpy(edges))

    def graph(self, role: str) -> Graph:
        return self.graphs[role]

    def train(self, loss: Any, *, update: Any, on: Any = ("target",), steps: int | None = None) -> None:
        self.trained.append((loss, update, on, steps))


def test_the_gcn_learns_on_the_sources_edges_and_goes_on_with_the_targets_labels() -> None:
    ctx: Any = Recorder(("source",))
    GCN(dropout=0.0).fit(ctx)
    assert [(on, steps) for _, _, on, steps in ctx.trained] == [(("source",), 10)]
    ctx = Recorder(("source", "target"))
    fitted = GCN(dropout=0.0, fine_tune=0.3, fine_tune_lr=0.2).fit(ctx)
    (first, net, on, steps), (second, group, then, rest) = ctx.trained
    assert (on, steps, then, rest, group.lr) == (("source",), 7, ("target",), None, 0.2)
    assert group.modules is net
    assert torch.equal(fitted.nodes.propagation.to_dense(), Nodes.of(ctx.graphs["target"]).propagation.to_dense())
    batch = Batch({"node": torch.tensor([1, 4])}, torch.tensor([0, 1]))
    for loss, role in ((first, "source"), (second, "target")):
        expected = F.cross_entropy(net(Nodes.of(ctx.graphs[role]))[[1, 4]], batch.y)
        torch.testing.assert_close(loss(batch, Step(0, 10)), expected)


@pytest.mark.parametrize("index", [0, 4])
def test_the_reversal_reaches_the_convolutions_and_not_the_critic(index: int) -> None:
    ctx: Any = Recorder(("source", "target_unlabelled"))
    GCNDANN(hidden=6, dropout=0.0, weight=0.7).fit(ctx)
    [(loss, (net, critic), on, _)] = ctx.trained
    assert on == ("source", "target_unlabelled")
    ours, theirs = torch.tensor([0, 3, 5]), torch.tensor([2, 7])
    source, target = (Nodes.of(ctx.graphs[r]) for r in ("source", "target"))
    terms = loss(Batch({"node": ours}, torch.tensor([0, 1, 1])), Batch({"node": theirs}), Step(index, 10))
    torch.testing.assert_close(terms["task"], F.cross_entropy(net(source)[ours], torch.tensor([0, 1, 1])))

    def gradients(total: Any) -> list[Any]:
        net.zero_grad()
        critic.zero_grad()
        total.backward()
        return [net.weights[0].grad.clone(), critic[0].weight.grad.clone()]

    turned = gradients(terms["domain"])
    both = torch.cat([net.encode(source)[ours], net.encode(target)[theirs]])
    truth = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    straight = gradients(
        0.7 * F.binary_cross_entropy_with_logits(critic(reverse_gradient(both, -1.0)).squeeze(1), truth)
    )
    factor = 2 / (1 + np.exp(-10 * index / 10)) - 1
    torch.testing.assert_close(turned[0], -float(factor) * straight[0])
    torch.testing.assert_close(turned[1], straight[1])
    assert straight[0].abs().sum() > 0


# ---- ReFeX ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [nx.karate_club_graph(), nx.star_graph(5), nx.gnp_random_graph(40, 0.1, seed=1),
                                   nx.complete_graph(6), nx.empty_graph(3)], ids=str)  # fmt: skip
def test_local_features_are_those_of_the_ego_nets_of_networkx(graph: Any) -> None:
    edges = np.array(list(graph.edges), dtype=int).reshape(-1, 2).T
    found = local_features(adjacency(np.concatenate([edges, edges[::-1]], axis=1), len(graph)))
    for node in graph:
        ego = nx.ego_graph(graph, node)
        leaving = sum(1 for u in ego for v in graph[u] if v not in ego)
        assert found["degree",][node] == graph.degree[node]
        assert found["within",][node] == ego.number_of_edges()
        assert found["leaving",][node] == leaving


def test_aggregates_are_sums_and_means_over_neighbours() -> None:
    edges, a = random_graph(15, 3)
    values, sparse = np.random.default_rng(0).normal(size=15), adjacency(edges, 15)
    for node in range(15):
        near = values[a[node] > 0]
        assert aggregated(values, sparse, "sum")[node] == pytest.approx(near.sum())
        assert aggregated(values, sparse, "mean")[node] == pytest.approx(near.mean() if len(near) else 0, abs=1e-8)


def test_an_adjacency_has_no_loops_and_no_double_edges() -> None:
    a = adjacency(np.array([[0, 1, 1, 2, 0], [1, 0, 1, 0, 1]]), 3).toarray()
    assert a.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_bins_halve_what_is_left_and_never_part_equals() -> None:
    assert log_bins(np.arange(16)).tolist() == [0] * 8 + [1] * 4 + [2] * 2 + [3, 4]
    assert log_bins(np.arange(16)[::-1]).tolist() == ([0] * 8 + [1] * 4 + [2] * 2 + [3, 4])[::-1]
    assert log_bins(np.array([5.0, 1, 1, 1, 1, 1, 7, 6])).tolist() == [1, 0, 0, 0, 0, 0, 2, 1]
    assert log_bins(np.full(6, 3.0)).tolist() == [0] * 6
    assert log_bins(np.arange(10), share=0.9).tolist() == [0] * 9 + [1]


def test_features_that_differ_by_no_more_than_the_threshold_are_one() -> None:
    bins = np.array([[0, 0, 3, 2], [1, 1, 0, 1], [2, 3, 1, 4]])  # 0 ~ 1 ~ 3 within 1 or 2; 2 is by itself
    assert distinct(bins, 0) == [0, 1, 2, 3]
    assert distinct(bins, 1) == [0, 2, 3]
    assert distinct(bins, 2) == [0, 2]


def test_the_features_of_one_graph_are_computed_on_another() -> None:
    one, other = (
        adjacency(np.array(list(g.edges)).T, len(g))
        for g in (nx.karate_club_graph(), nx.gnp_random_graph(50, 0.1, seed=2))
    )
    names = choose(one, rounds=3)
    assert names[0] == ("degree",)
    assert any(len(name) > 2 for name in names)
    found = compute(other, names)
    assert found.shape == (50, len(names))
    degree = np.asarray(other.sum(1)).ravel()
    for name, column in zip(names, found.T, strict=True):
        value = local_features(other)[name[:1]]
        for how in name[1:]:
            value = aggregated(value, other, how)
        np.testing.assert_allclose(column, value)
    np.testing.assert_array_equal(found[:, 0], degree)


def test_no_rounds_leave_the_local_features_and_rounds_end_by_themselves() -> None:
    karate = adjacency(np.array(list(nx.karate_club_graph().edges)).T, 34)
    assert {len(name) for name in choose(karate, rounds=0)} == {1}
    assert choose(karate, rounds=30) == choose(karate, rounds=50)
    ring = adjacency(np.array(list(nx.cycle_graph(9).edges)).T, 9)
    assert choose(ring, rounds=5) == [("degree",)]  # all nodes are alike


def test_a_renumbered_graph_has_the_same_features() -> None:
    graph = nx.karate_club_graph()
    order = np.random.default_rng(0).permutation(34)
    a = sp.csr_array(nx.to_numpy_array(graph, weight=None))
    b = sp.csr_array(a.toarray()[np.ix_(order, order)])
    names = choose(a, 3)
    assert names == choose(b, 3)
    np.testing.assert_allclose(compute(a, names)[order], compute(b, names))


# ---- the backbone --------------------------------------------------------------------------------


def test_the_backbone_keeps_the_contract_and_reads_the_attributes_only() -> None:
    backbone = NodeAttributes(hidden=(6, 4))
    check_backbone(backbone, Shape("graph", (5,)))
    net: Any = backbone.load(Shape("graph", (5,))).eval()
    x = torch.randn(3, 5)
    assert torch.equal(net({"attributes": x, "node": torch.arange(3)}), net(x))
    with pytest.raises(SkipTrial, match="takes nodes with attributes"):
        backbone.load(Shape("image", (1, 8, 8)))


def test_ordinary_strategies_run_on_attributes() -> None:
    toy = two_graphs()
    toy = Toy(toy.source, toy.target, toy.task, NodeAttributes(hidden=(16,), dropout=0.0), toy.recipe)
    assert 0.5 < score(SourceOnly(), toy) < 0.8


def test_predictions_are_of_the_nodes_that_are_asked_for() -> None:
    done = fit(StructuralFeatures(trees=5), roles())
    nodes = done.problem.test["target"].x["node"]  # type: ignore[index]
    some = torch.from_numpy(np.array(nodes[[4, 0]]))
    np.testing.assert_array_equal(done.fitted({"node": some}).numpy(), done.scores()["target"][[4, 0]])
