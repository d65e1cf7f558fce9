import pytest
import torch
from twofold.errors import ConfigError
from twofold.models.resnet import SMALL, resnet


def pixels(count, size=16):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("depth", "blocks", "parameters"), [(18, 8, 11_173_962), (34, 16, 21_282_122), (50, 16, None)])
def test_depths_have_the_blocks_of_the_paper(depth, blocks, parameters):
    with torch.device("meta"):
        module = resnet(outputs=10, height=32, width=32, depth=depth)
    assert len(module.blocks) == blocks
    convolutions = sum(isinstance(part, torch.nn.Conv2d) and part.kernel_size != (1, 1) for part in module.modules())
    assert convolutions == (depth - 1 if depth != 50 else 17)
    # The well-known counts of ResNet-18 and -34 with a stem for CIFAR-10.
    assert parameters in (None, sum(parameter.numel() for parameter in module.parameters()))


def test_fifty_layers_with_a_large_stem_are_those_of_imagenet():
    with torch.device("meta"):
        module = resnet(outputs=1000, height=224, width=224, depth=50)
    assert sum(parameter.numel() for parameter in module.parameters()) == 25_557_032


@pytest.mark.parametrize(("size", "places"), [(SMALL, SMALL), (SMALL + 1, 17)])
def test_the_stem_keeps_the_resolution_of_small_images(size, places):
    module = resnet(outputs=2, height=size, width=size, filters=8)
    assert module.stem(module.normalize(pixels(1, size))).shape == (1, 8, places, places)


@pytest.mark.parametrize(("depth", "norm"), [(18, "group"), (18, "batch"), (50, "group")])
def test_pixels_become_scores_and_gradients_reach_every_weight(depth, norm):
    torch.manual_seed(0)
    module = resnet(outputs=3, height=16, width=16, depth=depth, filters=8, norm=norm)
    scores = module(pixels(4))
    assert scores.shape == (4, 3)
    scores.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_a_sample_is_answered_the_same_alone_and_among_others():
    module = resnet(outputs=3, height=16, width=16, filters=8)
    together = module(pixels(4))
    assert torch.allclose(torch.cat([module(one) for one in pixels(4).split(1)]), together, atol=1e-5)
    assert module(pixels(0)).shape == (0, 3)


def test_floats_and_bytes_of_the_same_pixels_get_the_same_answer_in_the_target_s_units():
    module = resnet(outputs=1, height=16, width=16, filters=8, restore=True)
    before = module(pixels(2))
    assert torch.equal(module(pixels(2).float()), before)
    module.restore.fit(100.0, 10.0)
    assert torch.allclose(module(pixels(2)), before * 10 + 100)


@pytest.mark.parametrize("wrong", [{"depth": 20}, {"filters": 12}, {"norm": "layer"}])
def test_what_there_is_not_is_refused(wrong):
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))} is .*expected.*Change"):
        resnet(outputs=2, height=8, width=8, **wrong)
