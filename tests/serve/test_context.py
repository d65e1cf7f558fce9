from twofold.serve.context import Context
from twofold.serve.invocation import Invocation


def test_headers_are_found_whatever_their_case():
    context = Context("/m", Invocation(b"", headers={"X-Amzn-SageMaker-Inference-Id": "seven", "Accept": "a"}))
    assert context.get_request_id() == "seven"
    assert context.get_request_header(0, "accept") == "a"
    assert context.request_processor[0].get_request_property("ACCEPT") == "a"
    assert context.get_all_request_header(0) == {"X-Amzn-SageMaker-Inference-Id": "seven", "Accept": "a"}
    assert context.system_properties["model_dir"] == "/m"


def test_without_a_request_there_is_an_id_too():
    assert Context("/m").get_request_id() != Context("/m").get_request_id()


def test_the_answer_can_be_marked():
    context = Context("/m")
    context.set_response_status(code=418, phrase="teapot")
    context.set_response_header(0, "X-A", 1)
    context.set_response_content_type(0, "text/plain")
    wish = context.request_processor[0]
    assert (wish.status, wish.phrase) == (418, "teapot")
    assert wish.response_headers == {"X-A": "1", "content-type": "text/plain"}
