"""A place in a backward pass where memory may run out."""

import torch


class LimitedInBackward(torch.autograd.Function):
    """Nothing but a limit, which is called with the gradient."""

    @staticmethod
    def forward(context, states, limit):
        context.limit = limit
        return states.clone()

    @staticmethod
    def backward(context, gradient):
        context.limit(gradient)
        return gradient, None
