import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from twofold.errors import ModelError
from twofold.serve.combiner import Combiner


def test_everybody_gets_their_own_answer():
    sizes = []

    def double(inputs):
        sizes.append(len(inputs))
        return [2 * value for value in inputs]

    combiner = Combiner(double, 4)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(combiner, range(500))) == [2 * value for value in range(500)]
    assert sum(sizes) == 500
    assert max(sizes) <= 4


def test_only_the_bad_input_fails():
    def careful(inputs):
        if any(value % 7 == 0 for value in inputs):
            raise ValueError(f"seven in {inputs}")
        return [-value for value in inputs]

    combiner = Combiner(careful, 8)

    def ask(value):
        try:
            return combiner(value)
        except ValueError as error:
            return str(error)

    values = list(range(1, 200))
    random.Random(0).shuffle(values)
    with ThreadPoolExecutor(16) as pool:
        answers = dict(zip(values, pool.map(ask, values), strict=True))
    assert answers == {value: f"seven in [{value}]" if value % 7 == 0 else -value for value in values}


def test_a_wrong_number_of_answers_is_the_functions_fault():
    with pytest.raises(ModelError, match="returned 2 predictions for 1 inputs"):
        Combiner(lambda inputs: [1, 2], 8)(0)
