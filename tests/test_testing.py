"""The contract suite itself: a third party's method passes it, and every kind of breach fails it."""

from pathlib import Path

import pytest
import torch

from prunery.checks import Case, measures, sources, transforms
from prunery.contract import Architecture, Calibrator, LayerPruner, Learner, Settings, SpectralFitter
from prunery.errors import PruneryError
from prunery.testing import HEADINGS, card_problems
from prunery.toys import ToyNetwork, toy_checkpoint, toy_images, toy_texts

pytest_plugins = ["pytester"]

ROWNORM = '''
"""Row-norm pruning: keep the outputs whose weights have the largest norm."""

from __future__ import annotations

from pydantic import Field

from prunery import LayerPruner, Settings, hookimpl


class RowNormSettings(Settings):
    amount = "share"
    share: float = Field(0.5, gt=0, lt=1, description="share of the outputs of each layer that go")


class RowNorm(LayerPruner):
    name = "rownorm"
    Settings = RowNormSettings

    def mask(self, key, weight, measured, generator):
        import torch

        norms = weight.flatten(1).norm(dim=1)
        gone = norms.argsort(stable=True)[: int(self.settings.share * len(norms))]
        kept = torch.ones_like(weight, dtype=torch.bool)
        kept[gone] = False
        return kept


@hookimpl
def register_methods():
    return [RowNorm]
'''
CARD = "# prune: rownorm\n" + "".join(f"\n## {heading}\n`share`\n" for heading in HEADINGS)
SUITE = """
from prunery.testing import MethodContract
from prunery_rownorm import RowNorm


class TestRowNorm(MethodContract):
    method = RowNorm
"""


def run_suite(pytester, source: str, card: str = CARD):
    pytester.makepyfile(prunery_rownorm=source, test_rownorm=SUITE)
    (pytester.path / "README.md").write_text(card, encoding="utf-8")
    pytester.syspathinsert()
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")


def test_a_third_partys_method_is_one_file_a_card_and_a_test_of_three_lines(pytester):
    run_suite(pytester, ROWNORM).assert_outcomes(passed=13)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("weight.flatten(1)", "weight.mul_(1.5).flatten(1)", "*weights were changed*"),
        ("kept[gone] = False", "kept[torch.randperm(len(kept))[:2]] = False", "*different masks*"),
        ("return kept", "return kept.float()", "*torch.float32*"),
        ("return kept", "return kept[:1]", "*masks_fit_the_weights*"),
        ("kept[gone] = False", "pass", "*promises more weights held at zero*"),
        ("from pydantic", "import torch\nfrom pydantic", "*test_importing_it_imports_no_torch*"),
        (', description="share of the outputs of each layer that go"', "", "*without a description: ?'share'?*"),
        ('amount = "share"', 'amount = "part"', "*test_every_setting_is_described*"),
        ("Field(0.5, ", "Field(..., ", "*required settings without a value*"),
        ('    name = "rownorm"', '    name = ""', "*test_states_a_stage_and_a_name*"),
    ],
)
def test_breaches_of_a_pruner_are_found(pytester, good, bad, said):
    assert good in ROWNORM
    result = run_suite(pytester, ROWNORM.replace(good, bad))
    assert result.parseoutcomes()["failed"] >= 1
    result.stdout.fnmatch_lines([said])


def test_cards_are_read():
    class Known(LayerPruner):
        name = "rownorm"

        class Settings(Settings):
            share: float = 0.5

    assert card_problems(CARD, Known) == []
    assert "lacks `share`" in card_problems(CARD.replace("`share`", "share"), Known)[0]
    assert "headings" in card_problems(CARD.replace("## Cost", "## Costs"), Known)[0]
    assert "first line" in card_problems(CARD.replace("# prune", "# Prune"), Known)[0]


# --- breaches at other stages ----------------------------------------------------------------------------------------


def case_of(method, tmp: Path) -> Case:
    return Case(lambda: method, toy_images().spec, None, tmp)


class Cheating(Learner):
    """Averages the replicas' losses."""

    stage, name = "train", "cheating"

    def loss(self, logits, labels, teacher):
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).expand(len(logits))


class Leaky(Calibrator):
    """Leaves a hook behind."""

    name = "leaky"

    def measure(self, network, batches):
        network.register_forward_hook(lambda *_: None)
        return {key: {"one": torch.ones(1)} for key in ("0.weight", "2.weight", "5.weight", "7.weight")}


class Infinite(SpectralFitter):
    """Answers with a figure JSON cannot hold."""

    name = "infinite"

    def fit(self, matrix):
        return {"edge": float("inf")}


class Forgetful(Architecture):
    """Does not record its width."""

    name = "forgetful"
    Settings = ToyNetwork.Settings

    def build(self, spec):
        return ToyNetwork(self.settings).build(spec)

    def recorded(self):
        return {}


@pytest.mark.parametrize(
    ("check", "method", "failure"),
    [
        (transforms.loss_is_per_replica, Cheating(), AssertionError),
        (measures.statistics_are_by_key, Leaky(), AssertionError),
        (measures.fits_are_figures, Infinite(), ValueError),
        (sources.networks_are_rebuilt_from_their_record, Forgetful(ToyNetwork.Settings(width=12)), PruneryError),
    ],
)
def test_breaches_of_other_stages_are_found(check, method, failure, tmp_path):
    with pytest.raises(failure):
        check(case_of(method, tmp_path))


def test_the_toy_network_keeps_its_own_contract(tmp_path):
    for number, check in enumerate(
        (
            sources.networks_give_logits,
            sources.networks_are_rebuilt_from_their_record,
            sources.stacked_replicas_equal_single_ones,
        )
    ):
        check(case_of(ToyNetwork(), tmp_path / str(number)))
    assert sum(p.numel() for p in toy_checkpoint((0,)).networks[0].parameters()) == 1224 + 8 + 8 + 16 + 4


@pytest.mark.parametrize("dataset", [toy_images(), toy_texts()], ids=["images", "texts"])
def test_toy_data_can_be_learnt(dataset):
    """A nearest-mean classifier (on pixels, or on counts of tokens) beats chance by far on unseen samples."""

    def features(split):
        if dataset.kind == "image":
            return split.inputs.flatten(1).float()
        return torch.nn.functional.one_hot(split.inputs.long(), 24)[..., 1:].sum(1).float()

    train, test = features(dataset.train), features(dataset.test)
    means = torch.stack([train[dataset.train.labels == label].mean(0) for label in range(4)])
    right = (torch.cdist(test, means).argmin(1) == dataset.test.labels).float().mean()
    assert right > 0.8
