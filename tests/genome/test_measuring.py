"""What measures in a script is found by what it prints, what it is called, and where the measured values come from."""

import pytest

from agent.genome import Genome, Violations
from agent.genome.measuring import find_measuring
from agent.genome.outline import what_stays
from tests.genome.programs import apply_freely, fenced

NET = "class Net(nn.Module):\n    def forward(self, x): return self.layer(x)\n"


def frozen(source, *metrics):
    files = source if isinstance(source, dict) else {"train.py": NET + source}
    return find_measuring(Genome(files), metrics or ["val_acc"]).frozen


@pytest.mark.parametrize(
    "telling",
    [
        "print(f'val acc: {value:.2f}')",
        "print('Val-Acc', value)",
        "print(f'{val_acc=}')",
        "print('val_acc', value, file=sys.stderr)",
        "logging.info('val_acc %.3f', value)",
        "logger.info('epoch %d val/acc=%.3f', 1, value)",
        "sys.stdout.write('val_acc: ' + str(value))",
        "json.dump({'val_acc': value}, file)",
        "wandb.log({'val/acc': value})",
        "wandb.log(dict(val_acc=value))",
        "tqdm.write('val_acc {}'.format(value))",
        "bar.set_postfix(val_acc=value)",
        "bar.set_postfix({'val_acc': value})",
        "writer.add_scalar('val_acc', value, 1)",
        "self.log('val_acc', value)",
        "history['val_acc'].append(value)",
        "for i in range(3):\n        with open('o') as f:\n            print('val_acc', value, file=f)",
    ],
)
def test_every_way_to_tell_a_metric_is_seen_and_what_it_was_computed_by(telling):
    source = f"""
def report(net):
    val_acc = value = share(net)
    {telling}
def share(net): return right(net) / 10
def right(net): return float((net(1) == 2).sum())
def train(net): net(1).backward()
def schedule(step): return 0.1
"""
    assert frozen(source) == {"report": "prints val_acc", "share": "computes a metric", "right": "computes a metric"}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("total = 0.0\n    for one in parts(net): total += one\n    value = total", {"parts"}),
        ("sums = []\n    sums.append(part(net))\n    value = sum(sums)", {"part"}),
        ("out, value = both(net), 1\n    value = out.mean().item()", {"both"}),
        ("value = scaled(hits(net), count())", {"scaled", "hits", "count"}),
        ("meter = Meter()\n    meter.update(hits(net))\n    value = meter.average", {"Meter", "hits"}),
        ("found = {}\n    found['x'] = hits(net)\n    value = found['x']", {"hits"}),
        ("value = (lambda n: hits(n))(net)", {"hits"}),
        ("value = best if (best := hits(net)) > 1 else floor()", {"hits", "floor"}),
        ("def inner():\n        return hits(net)\n    value = inner()", {"hits"}),
    ],
)
def test_values_are_followed_through_names_loops_containers_and_inner_functions(value, names):
    every = ("parts", "part", "both", "scaled", "hits", "count", "floor", "other")
    helpers = "".join(f"def {name}(*a): return a\n" for name in every)
    meter = "class Meter:\n    def update(self, v): self.average = v\n"
    source = f"{meter}{helpers}def report(net):\n    {value}\n    print('acc', value)\n"
    assert frozen(source, "acc").keys() == {"report", *names}


def test_what_makes_and_trains_the_network_that_is_evaluated_evolves():
    source = """
def build(width): return nn.Sequential(nn.Linear(2, width))
def optimizer_of(net): return torch.optim.SGD(net.parameters(), lr=0.1)
def fit(net, opt):
    opt.zero_grad()
    net(1).backward()
    return net
def width_of(depth): return 8 * depth
def evaluate(net): return error(net(1))
def error(out): return out.abs().mean()
def main():
    net = fit(build(width_of(2)), optimizer_of(None))
    print("loss:", evaluate(net))
"""
    assert frozen(source, "loss") == {"main": "prints loss", "evaluate": "measures", "error": "computes a metric"}


def test_what_is_handed_to_a_function_that_prints_is_followed_and_that_function_is_found():
    source = """
def tell(name, value): print(f"{name}: {value}")
def hand(found): json.dump(found, sys.stdout)
def share(net): return 1
def run(net):
    tell("acc", share(net))
def result(net): return {"acc": share(net)}
def last(net):
    found = result(net)
    hand(found)
"""
    assert frozen(source, "acc").keys() == {"tell", "hand", "share", "run", "result", "last"}
    source = source.replace("    hand(found)\n", "    print(json.dumps(found))\n")
    assert frozen(source, "acc").keys() == {"tell", "share", "run", "result", "last"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("class Points(torch.utils.data.Dataset): pass", {"Points"}),
        ("class PointDataset: pass", {"PointDataset"}),
        ("class Faces(datasets.ImageFolder): pass", {"Faces"}),
        ("class Draw(torch.utils.data.Sampler): pass", {"Draw"}),
        ("def loaders(): return DataLoader(make()), 1\ndef make(): return 1", {"loaders", "make"}),
        ("def get_batch(split): return 1", {"get_batch"}),
        ("def halves(x): return random_split(x, [1, 2])", {"halves"}),
        ("def points(): return torchvision.datasets.MNIST('.')", {"points"}),
        ("def load_data(path): return open(path)", {"load_data"}),
        ("def test(net): return 1", {"test"}),
        ("def run_validation(net): return 1", {"run_validation"}),
        ("def eval_epoch(net): return 1", {"eval_epoch"}),
        ("def evaluateModel(net): return 1", {"evaluateModel"}),
        ("def estimate_loss(net): return 1", {"estimate_loss"}),
        ("def compute_accuracy(out, y): return 1", {"compute_accuracy"}),
        ("def f_val_acc(out, y): return 1", {"f_val_acc"}),
        ("class Evaluator:\n    def go(self): return 1", {"Evaluator"}),
        ("EVAL_STEPS = 20\nWIDTH = 8", {"EVAL_STEPS"}),
        ("CUT = 3\nWIDTH = 4\ndef test(n): return CUT * WIDTH\ndef size(): return WIDTH", {"test", "CUT"}),
        ("NAME = 'val acc'\ndef go(x): print(NAME, x)", {"NAME", "go"}),
        ("@dataclass\nclass Found:\n    val_acc: float", {"Found"}),
        ("@register('val_acc')\ndef share(out, y): return 1", {"share"}),
        ("def latest(x): return x\ndef evolve(x): return x\ndef invalidate(x): return x", set()),
        ("class Mlp:\n    def fit(self, x): self.w = x\n    def error(self, x): return self.w - x\ndef main():\n"
         "    mlp = Mlp()\n    mlp.fit(1)\n    print('val_acc', mlp.error(2))", {"main", "Mlp.error"}),
        ("class Net2(Base): pass\ndef test(net): print('val_acc', net(1))\ndef main(): test(Net2())", {"test"}),
        ("def train(net): print('train_acc', 1)\ndef go(x):\n    'Prints val_acc.'\n    return x", set()),
    ],
)
def test_data_and_functions_named_as_tests_are_are_found_and_others_are_not(source, names):
    assert frozen(source + "\n").keys() == names


def test_a_network_and_a_trainer_evolve_around_their_methods_that_measure():
    source = """
class Lit(pl.LightningModule):
    def forward(self, x): return self.head(x)
    def training_step(self, batch, i): return self.loss_of(batch)
    def loss_of(self, batch): return mse(self(batch))
    def validation_step(self, batch, i): self.log("val_acc", self._share(batch))
    def _share(self, batch): return ratio(self(batch))
def ratio(out): return out.mean()
def mse(out): return out.sum()
class Trainer:
    def fit(self):
        self.opt.zero_grad()
    def evaluate(self):
        return self.hits / self.seen
    def count(self, out): self.hits = self.hits + marks(out)
    def rate(self): return 0.1
def marks(out): return 1
"""
    found = frozen(source)
    assert found.keys() == {
        "Lit.validation_step", "Lit._share", "ratio", "Trainer.evaluate", "Trainer.count", "marks"
    }  # fmt: skip


def test_functions_of_other_files_are_found_under_any_name():
    files = {
        "train.py": "import measures\nfrom measures import share as s\n"
        "def main(net):\n    print('acc', s(net), measures.other(net))\n",
        "measures.py": "def share(net): return 1\ndef other(net): return 1\ndef free(net): return 1\n",
    }
    assert frozen(files, "acc").keys() == {"train.py:main", "measures.py:share", "measures.py:other"}


def test_where_nothing_else_could_evolve_what_trains_is_left_free_and_else_everything():
    both = Genome({"train.py": "def test(net): return 1\ndef main():\n    step().backward()\n    print('acc', test(1))\n"})
    found = find_measuring(both, ["acc"])
    assert (found.frozen, found.left_free) == ({"test": "measures"}, {"main": "prints acc"})
    found = find_measuring(Genome({"train.py": "def main():\n    print('acc: 1')\n"}), ["acc"])
    assert (found.frozen, found.left_free) == ({}, {"main": "prints acc"})


PROGRAM = """
class Net(Base):
    def width(self):
        return 8

    def test_step(self, x):
        \"\"\"Says something.\"\"\"
        return x / 2


def main():
    return Net().width()
"""
CHANGED = "class Net(Base):\n    def width(self):\n        return 16\n\n    def test_step(self, x):\n        return x / {}\n"


@pytest.mark.parametrize("apply", [apply_freely, lambda editor, code, genome: editor.apply(genome, ("Net",), fenced(code))])
def test_a_frozen_method_stays_while_its_class_evolves(editor, apply):
    genome = Genome({"train.py": PROGRAM}, frozenset({"Net.test_step"}), frozenset())
    edited = apply(editor, CHANGED.format(2), genome)
    assert isinstance(edited, Genome) and "return 16" in edited.files["train.py"]
    for code in (CHANGED.format(1), CHANGED.partition("    def test_step")[0]):
        refused = apply(editor, code, genome)
        assert isinstance(refused, Violations) and "`Net.test_step` is frozen" in refused.reasons[0]


def test_what_can_never_evolve_has_its_reason():
    source = "import os\nWIDTH = 8\nnet = make(WIDTH)\ndef a(): pass\ndef a(): pass\ndef b(): pass\n"
    source += "if __name__ == '__main__':\n    b()\n"
    top = "runs at the top level"
    assert what_stays(Genome({"train.py": source})) == {
        "a": "defined 2 times", "net = make(WIDTH)": top, "if __name__ == '__main__':": top
    }  # fmt: skip
