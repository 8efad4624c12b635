"""A confirmation on real trainings of `tiny_cnn`: what it trains, in which order it journals, and how it ends early."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from agent.core.errors import Halted, UserError
from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.confirmations import ConfirmationRecord, count_openings, read_confirmations
from agent.journal.events import Retrained, SealOpened, ShortlistFrozen, VerdictsReached
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID, Candidate, Individual
from agent.run.admission import Admission
from agent.run.components import open_components
from agent.run.config import ConfirmSection
from agent.run.config_sources import load
from agent.run.confirmation import Confirmation, Request, fitted, freeze_shortlist, fresh_seed, null_copy, to_go_on_with
from agent.run.confirming import is_due
from agent.run.context import RunContext
from sandbox.data import Dataset

ODD = "\n\nif torch.initial_seed() % 8 == 3:\n    raise ValueError('odd')\n"


def configured(*more):
    settings = {"llm": {"models": ["offline"]}, "budget": {"steps": 2, "batch_size": 64}, "sandbox": {"slots": 2}}
    config = load("seeds/tiny_cnn", None, settings, ["confirm.trainings=2", *more])
    budget = {key: value for key, value in config.budget.items() if key != "epochs"}
    return config.model_copy(update={"budget": budget})


@pytest.fixture(scope="module")
def opened(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOLVE_CACHE", str(cache))
        with open_components(configured(), lambda event: None, with_models=False) as components:
            yield components


def individual(id, genome, accuracy=0.9, parameters=5178.0):
    return Individual(Candidate(id, 0), genome, Fitness({"accuracy": accuracy, "parameters": parameters}))


def changed(genome, old="", new="", more=""):
    text = genome.files["model.py"]
    assert old in text
    return genome.with_same_rules({"model.py": text.replace(old, new) + more})


@pytest.fixture
def trained(opened):
    seed = opened.genome
    return [
        individual(SEED_ID, seed),
        individual("0001", changed(seed, "width=16", "width=8"), 0.8, 1500.0),
        individual("0002", changed(seed, "width=16", "width=20"), 0.95, 7000.0),
    ]


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield journal


class Watched:
    """Journals, keeps what was journaled, and may close the admission after so many trainings."""

    def __init__(self, journal, config, stop_after=None, cut=False):
        self.events, self._journal, self._stop_after, self._cut = [], journal, stop_after, cut
        self.admission = Admission()
        self.run = RunContext(self.record, config, admission=self.admission)

    def record(self, event):
        self._journal.record(event)
        self.events.append(event)
        if sum(isinstance(one, Retrained) for one in self.events) == self._stop_after:
            self.admission.cut("the time is over") if self._cut else self.admission.stop("by the user")


def confirmed(opened, journal, trained, stop_after=None, cut=False):
    """(complete, watched, record): goes on with the confirmation of the journal, or begins one."""
    records = read_confirmations(journal)
    config = opened.config
    one = records[-1] if records else ConfirmationRecord(freeze_shortlist(trained, config, config.confirm, opened.task))
    watched = Watched(journal, config, stop_after, cut)
    complete = Confirmation(watched.run, opened.evaluator, one, trained).work(config.objective_list())
    return complete, watched, one


class TestShortlist:
    def test_it_is_the_seed_two_copies_of_it_and_the_front(self, opened, trained):
        frozen = freeze_shortlist(trained, opened.config, opened.config.confirm, opened.task)
        assert list(frozen.members) == [SEED_ID, "null-1", "null-2", "0001", "0002"]
        assert list(frozen.nulls) == ["null-1", "null-2"]
        assert frozen.members["0001"] == {"accuracy": 0.8, "parameters": 1500.0}
        assert frozen.members["null-1"] is None
        assert frozen.has_test_split and "355 images" in frozen.test_note

    def test_programs_take_turns_each_training_with_a_seed_of_its_own(self, opened, trained):
        config = configured("confirm.trainings=4", "noise.trainings=7", "run.training_seed=3")
        frozen = freeze_shortlist(trained, config, config.confirm, opened.task)
        ids, seeds = zip(*frozen.plan, strict=True)
        assert ids == tuple(frozen.members) * 4
        assert len(set(seeds)) == len(seeds) == 20
        assert not set(seeds) & set(range(3, 3 + 7 + 1))  # those of the search and of the noise

    @pytest.mark.parametrize(("members", "chosen"), [(1, ["0003"]), (2, ["0002", "0003"]), (3, ["0001", "0002", "0003"])])
    def test_few_members_are_those_worth_most_and_not_the_ends(self, opened, trained, members, chosen):
        between = individual("0003", changed(opened.genome, "width=16", "width=12"), 0.94, 1600.0)
        settings = opened.config.confirm.model_copy(update={"members": members})
        objectives = opened.config.objective_list()
        scale = WorthScale.of(objectives, Noise({"accuracy": 0.01, "parameters": 0.0}, trained[0].fitness.values))
        frozen = freeze_shortlist([*trained, between], opened.config, settings, opened.task, scale=scale)
        assert [id for id in frozen.members if id.startswith("0")] == chosen

    def test_one_that_may_not_lead_is_no_member(self, opened, trained):
        seed, first, second = trained
        people = [seed, first, replace(second, fault="fit: it failed with another training seed")]
        frozen = freeze_shortlist(people, opened.config, opened.config.confirm, opened.task)
        assert "0001" in frozen.members and "0002" not in frozen.members

    def test_another_one_takes_other_seeds(self, opened, trained):
        config = opened.config
        first = ConfirmationRecord(freeze_shortlist(trained, config, config.confirm, opened.task))
        second = freeze_shortlist(trained, config, config.confirm, opened.task, [first])
        assert not {seed for _, seed in first.shortlist.plan} & {seed for _, seed in second.plan}
        assert (second.number, second.forced) == (2, True)

    def test_noise_that_is_measured_very_often_takes_no_seed_of_it(self):
        assert fresh_seed(configured("noise.trainings=2000000"), ()) > 2_000_000

    def test_a_front_of_the_seed_alone_is_refused_in_one_sentence(self, opened, trained):
        worse = individual("0001", trained[1].genome, 0.1, 9000.0)
        for front in (trained[:1], [trained[0], worse]):
            with pytest.raises(UserError, match="the front holds only the seed"):
                freeze_shortlist(front, opened.config, opened.config.confirm, opened.task)

    def test_of_a_large_front_those_best_spread_over_it_are_taken(self, opened, trained):
        genome = trained[0].genome
        crowd = [individual(f"{i:04d}", genome, 0.5 + i / 1e4, 100.0 + i / 100) for i in range(1, 8)]
        far = [individual("0008", genome, 0.99, 9000.0), individual("0009", genome, 0.8, 3000.0)]
        settings = opened.config.confirm.model_copy(update={"members": 3})
        frozen = freeze_shortlist([trained[0], *crowd, *far], opened.config, settings, opened.task)
        chosen = list(frozen.members)[3:]
        assert len(chosen) == 3 and {"0008", "0009"} < set(chosen)
        assert frozen.left_out == 6

    def test_a_null_copy_is_the_same_program_with_a_comment(self):
        genome = Genome({"a.py": "x = 1", "b.py": "y = 2\n"})
        copies = [null_copy(genome, n) for n in (1, 2)]
        assert copies[0] == {"a.py": "x = 1\n# null copy 1: nothing is changed\n", "b.py": "y = 2\n"}
        assert copies[0] != copies[1]


class TestInTime:
    """5 members, 2 copies and the seed, 5 trainings each: 40."""

    @pytest.mark.parametrize(
        ("affordable", "members", "trainings"),
        [(None, 5, 5), (50, 5, 5), (49.9, 4, 5), (25, 1, 5), (24, 1, 4), (15, 1, 3), (14.9, 5, 5), (0, 5, 5)],
    )
    def test_what_cannot_be_done_in_time_is_not_begun(self, affordable, members, trainings):
        found = fitted(ConfirmSection(), affordable)
        assert (found.members, found.trainings) == (members, trainings)

    def test_few_trainings_that_were_asked_for_stay_few(self):
        assert fitted(ConfirmSection(trainings=2, members=1), 10).trainings == 2


class TestTrainings:
    def test_everything_is_trained_and_judged(self, opened, journal, trained):
        complete, watched, one = confirmed(opened, journal, trained)
        assert complete and one.is_complete
        kinds = [type(event) for event in watched.events]
        assert kinds[:2] == [ShortlistFrozen, SealOpened] and kinds[-1] is VerdictsReached
        assert kinds.count(Retrained) == len(kinds) - 3 == 10
        assert {(e.id, e.training_seed) for e in watched.events if isinstance(e, Retrained)} == set(one.shortlist.plan)
        (read,) = read_confirmations(journal)
        assert read.is_complete and read.is_opened
        sample = read.samples()[3]
        assert (sample.id, sample.of("parameters")) == ("0001", [sample.of("parameters")[0]] * 2)
        assert sample.of("accuracy") != [v["accuracy"] for v in sample.validation]

    def test_the_opening_is_on_disk_before_a_test_label_is_read(self, opened, journal, trained, monkeypatch):
        openings, read = [], Dataset.sealed_targets

        def looked_at(self):
            openings.append(journal.count("opened"))
            return read(self)

        monkeypatch.setattr(Dataset, "sealed_targets", looked_at)
        confirmed(opened, journal, trained)
        assert openings == [1] * 10

    def test_a_crash_after_the_opening_counts_as_one_and_goes_on_as_the_same(self, opened, journal, trained, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Dataset, "sealed_targets", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                confirmed(opened, journal, trained)
        before = read_confirmations(journal)
        assert count_openings(before) == 1 and not before[0].trainings
        complete, _, one = confirmed(opened, journal, trained)
        after = read_confirmations(journal)
        assert complete and one.shortlist == before[0].shortlist
        assert len(after) == count_openings(after) == 1

    @pytest.mark.parametrize("cut", [False, True], ids=["stopped", "out of time"])
    def test_one_that_ends_in_the_middle_is_undecided_and_goes_on(self, opened, journal, trained, cut):
        complete, _, one = confirmed(opened, journal, trained, stop_after=3, cut=cut)
        (half,) = read_confirmations(journal)
        assert not complete and not half.is_complete
        assert 3 <= len(half.trainings) < 10
        words = {verdict.word for verdict in half.judge(opened.config.objective_list()).verdicts}
        assert "undecided" in words and not words & {"better", "no_worse_and_smaller"}
        complete, watched, _ = confirmed(opened, journal, trained)
        again = {event.training_seed for event in watched.events if isinstance(event, Retrained)}
        assert complete and not again & half.trainings.keys()
        (whole,) = read_confirmations(journal)
        assert whole.shortlist == one.shortlist
        assert {seed: whole.trainings[seed] for seed in half.trainings} == half.trainings
        assert count_openings([whole]) == 1

    def test_if_nothing_is_admitted_nothing_is_opened(self, opened, journal, trained):
        config = opened.config
        one = ConfirmationRecord(freeze_shortlist(trained, config, config.confirm, opened.task))
        watched = Watched(journal, config)
        watched.admission.stop("by the user")
        assert not Confirmation(watched.run, opened.evaluator, one, trained).work(config.objective_list())
        assert count_openings(read_confirmations(journal)) == 0

    def test_a_member_that_fails_in_some_trainings_is_shown_with_them(self, opened, journal, trained):
        seed = trained[0]
        lucky = individual("0001", changed(seed.genome, "import torch\n", "import torch\n" + ODD), 0.95)
        complete, _, one = confirmed(opened, journal, [seed, lucky])
        assert complete
        sample = one.samples()[3]
        assert (sample.id, len(sample.values), len(sample.failures)) == ("0001", 1, 1)
        assert "odd" in sample.failures[0]
        verdict = one.verdicts.verdicts[3]
        assert (verdict.word, verdict.text) == ("not_confirmed", "not confirmed: 1 of 2 of its trainings failed")

    def test_constraints_of_the_search_hide_no_value(self, cache, journal, trained, monkeypatch):
        monkeypatch.setenv("EVOLVE_CACHE", str(cache))
        config = configured("constraints.accuracy=>= 0.99", "confirm.trainings=1")
        with open_components(config, lambda event: None, with_models=False) as strict:
            _, watched, _ = confirmed(strict, journal, trained)
        assert all(e.values is not None for e in watched.events if isinstance(e, Retrained))

    def test_one_training_each_decides_nothing(self, opened, journal, trained):
        config = opened.config
        settings = Request(trainings=1).settings(config.confirm)
        one = ConfirmationRecord(freeze_shortlist(trained, config, settings, opened.task))
        assert Confirmation(Watched(journal, config).run, opened.evaluator, one, trained).work(config.objective_list())
        assert {verdict.word for verdict in one.verdicts.verdicts} == {None, "undecided"}


class TestAgain:
    @pytest.fixture
    def records(self, opened, trained):
        return [ConfirmationRecord(freeze_shortlist(trained, opened.config, opened.config.confirm, opened.task), is_opened=True)]

    def test_one_that_is_not_finished_goes_on(self, records):
        assert to_go_on_with(records, Request()) is records[0]
        assert to_go_on_with(records, Request(trainings=2, members=2)) is records[0]
        assert to_go_on_with([], Request()) is None

    @pytest.mark.parametrize("request_", [Request(trainings=3), Request(members=1)])
    def test_it_goes_on_as_it_was_frozen(self, records, request_):
        with pytest.raises(UserError, match="frozen with 2 members and 2 trainings"):
            to_go_on_with(records, request_)
        assert to_go_on_with(records, replace(request_, force=True)) is None

    def test_a_second_one_has_to_be_forced(self, records, opened):
        records[0].verdicts = records[0].judge(opened.config.objective_list())
        with pytest.raises(UserError, match=r"confirmed already and has opened its test split.*--force"):
            to_go_on_with(records, Request())
        assert to_go_on_with(records, Request(force=True)) is None

    @pytest.mark.parametrize(
        ("settings", "due"),
        [
            ([], False), (["limits.hours=8"], True), (["limits.usd=5"], True), (["limits.until='07:00'"], True),
            (["limits.variants=50"], False), (["limits.hours=8", "limits.reserve=0"], False),
            (["limits.hours=8", "confirm.at_end=false"], False), (["confirm.at_end=true"], True),
        ],
    )  # fmt: skip
    def test_at_the_end_of_a_run_it_follows_where_a_reserve_was_kept(self, settings, due, records, opened):
        assert is_due(configured(*settings), []) is due
        assert is_due(configured(*settings), records)  # an unfinished one goes on
        records[0].verdicts = records[0].judge(opened.config.objective_list())
        assert not is_due(configured(*settings), records)

    def test_without_a_confirmation_the_search_may_use_everything(self):
        for at_end, share in ((False, 1.0), ("auto", 0.9), (True, 0.9)):
            assert configured("limits.hours=8").limits.for_search(at_end).share == share


def test_halted_is_no_failure_of_a_member(opened, journal, trained):
    """A training that is cut off leaves no row."""
    config = opened.config
    one = ConfirmationRecord(freeze_shortlist(trained, config, config.confirm, opened.task))
    watched = Watched(journal, config)
    confirmation = Confirmation(watched.run, opened.evaluator, one, trained)
    journal.record(one.shortlist)
    watched.admission.before_evaluation = lambda id: None
    watched.admission.is_cut = True
    with pytest.raises(Halted):
        confirmation._train(*one.shortlist.plan[0])
    assert not read_confirmations(journal)[0].trainings


def test_test_labels_are_only_read_for_a_confirmation(opened, trained, monkeypatch):
    monkeypatch.setattr(Dataset, "sealed_targets", lambda self: pytest.fail("test labels were read"))
    load_array, seen = np.load, []
    monkeypatch.setattr(np, "load", lambda path, *a, **k: seen.append(str(path)) or load_array(path, *a, **k))
    for one in trained:
        assert isinstance(opened.evaluator.measure(one.candidate, one.genome), Individual)
    assert seen and not [path for path in seen if "test" in path.rsplit("/", 2)[-1]]
