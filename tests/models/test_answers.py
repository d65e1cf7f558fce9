import torch
from torch import nn
from twofold.models.answers import Answers


def test_a_classifier_answers_probabilities():
    scores = torch.tensor([[0.0, 0.0], [1000.0, -1000.0]], dtype=torch.float64)
    answers = Answers(nn.Identity(), "classification")(scores)
    assert answers.dtype == torch.float32
    assert answers.tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_a_language_model_answers_the_token_after_the_last():
    scores = torch.tensor([[[9.0, 0.0], [0.0, 0.0]]])
    assert Answers(nn.Identity(), "language-modelling")(scores).tolist() == [[0.5, 0.5]]


def test_a_regression_answers_one_number_a_row():
    assert Answers(nn.Identity(), "regression")(torch.tensor([[1.5], [2.5]])).tolist() == [1.5, 2.5]
