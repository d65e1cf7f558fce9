import torch
from twofold.train.metrics import Meter
from twofold.train.parallel import Sums
from twofold.train.ranks import Ranks
from twofold.train.tasks import Classification


def test_a_mean_is_over_samples_not_batches():
    meter = Meter(Ranks())
    meter.add(Sums(torch.tensor(6.0), torch.tensor(3.0), 3))
    meter.add(Sums(torch.tensor(2.0), torch.tensor(0.0), 1))
    assert meter.total(Classification((0, 1))) == {"loss": 2.0, "accuracy": 0.75}
    assert meter.seen() == 4


def test_an_earlier_part_of_the_epoch_counts_but_was_not_seen_now():
    meter = Meter(Ranks(), [6.0, 3.0, 3.0])
    meter.add(Sums(torch.tensor(2.0), torch.tensor(0.0), 1))
    assert meter.total(Classification((0, 1))) == {"loss": 2.0, "accuracy": 0.75}
    assert meter.all_ranks() == [8.0, 3.0, 4.0]
    assert meter.seen() == 1
