"""Models of several containers, containers of several models, and variants that only listen."""

import json
import sys

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, NUMBERS, ROLE, archive, ask, until

# Holds one model at a time; a model is the word in its file.
ONE_MODEL = f"""#!{sys.executable}
import http.server, json, os, pathlib, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
held = {{}}

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def say(self, status, **body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def do_GET(self): self.say(200)
    def do_DELETE(self):
        print("unloaded", held.pop(self.path.split("/")[2]), flush=True)
        self.say(200)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/models":
            if held: return self.say(507)
            asked = json.loads(body)
            held[asked["model_name"]] = (pathlib.Path(asked["url"]) / "word.txt").read_text()
            return self.say(200)
        self.say(200, word=held[self.path.split("/")[2]], target=self.headers["X-Amzn-SageMaker-Target-Model"])

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
ECHO = "import json\ndef model_fn(folder): return open(folder + '/word.txt').read()\n"
ECHO += "def input_fn(body, kind): return json.loads(body)\ndef predict_fn(data, model): return [model, data]\n"
ECHO += "def output_fn(answer, accept): return json.dumps(answer)\n"
VARIANT = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


@pytest.fixture
def deploy(shared, make, serve_path):
    """Deploy a model of containers, each a word or a whole description; the name of endpoint, config and model."""

    def run(*containers, variants=("v",), shadows=(), capture=None, **fields):
        name = f"pipeline-{next(NUMBERS)}"
        described = []
        for number, given in enumerate(containers):
            if isinstance(given, str):
                key = f"{name}-{number}.tar.gz"
                shared.put(make.bucket, key, archive(word_txt=given))
                url, path = f"s3://{make.bucket}/{key}", {"PATH": serve_path}
                described.append({"Image": IMAGE, "ModelDataUrl": url, "Environment": path, "ContainerHostname": given})
            else:
                described.append({"Image": IMAGE, **given})
        one = {"PrimaryContainer": described[0]} if len(described) == 1 else {"Containers": described}
        shared.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **one, **fields)
        config = {"ProductionVariants": [{"VariantName": v, "ModelName": name, **VARIANT} for v in variants]}
        if shadows:
            config["ShadowProductionVariants"] = [{"ModelName": name, **VARIANT, **shadow} for shadow in shadows]
        shared.sagemaker.create_endpoint_config(EndpointConfigName=name, **config, **(capture or {}))
        make.create(name, name)
        return name

    return run


def test_in_a_row_each_answer_is_the_next_request(shared, make, deploy):
    name = deploy("first", "second")
    said, answer = ask(shared, name, b"hello", ContentType="text/csv", Accept="application/json")
    assert (said["word"], answer["ContentType"]) == ("second", "application/json")
    assert said["headers"]["Content-Type"] == "application/json", "that of the first one's answer"
    before = json.loads(said["body"])
    assert (before["word"], before["body"], before["headers"]["Content-Type"]) == ("first", "hello", "text/csv")
    assert "Accept" not in before["headers"]
    with pytest.raises(ClientError, match="Received status 400 from the model"):
        ask(shared, name, b"bad")
    logs = until(lambda: len(found := shared.lines(f"/aws/sagemaker/Endpoints/{name}", "v/")) == 2 and found, "logs")
    assert sorted(stream.rpartition("/")[2] for stream in logs) == ["first", "second"]

    bucket = shared.bucket(**{"in/x": b"hello"})
    shared.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in/"}}},
        TransformOutput={"S3OutputPath": f"s3://{bucket}/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    waiter = shared.sagemaker.get_waiter("transform_job_completed_or_stopped")
    waiter.wait(TransformJobName=name, WaiterConfig={"Delay": 1})
    said = json.loads(shared.read(f"s3://{bucket}/out/x.out"))
    assert (said["word"], json.loads(said["body"])["word"]) == ("second", "first")


def test_in_direct_mode_a_request_names_its_container(shared, deploy):
    name = deploy("first", "second", InferenceExecutionConfig={"Mode": "Direct"})
    for word in ("second", "first"):
        assert ask(shared, name, TargetContainerHostname=word)[0]["word"] == word
    with pytest.raises(ClientError, match="expected one of first, second"):
        ask(shared, name)
    runtime = shared.client("sagemaker-runtime")
    stream = {"EndpointName": name, "Body": b"stream", "TargetContainerHostname": "second"}
    parts = [e["PayloadPart"]["Bytes"] for e in runtime.invoke_endpoint_with_response_stream(**stream)["Body"]]
    assert b"".join(parts) == b"one two three"
    with pytest.raises(ClientError, match="Expected a ContainerHostname of its own"):
        deploy({"ContainerHostname": "a"}, {"ContainerHostname": "a"}, InferenceExecutionConfig={"Mode": "Direct"})


@pytest.mark.slow
def test_many_models_are_loaded_by_our_own_server_when_they_are_asked_for(shared, deploy):
    words = {f"models/{word}.tar.gz": archive(word_txt=word, **{"code/inference_py": ECHO}) for word in ("a", "b")}
    bucket = shared.bucket(**words)
    name = deploy({"Mode": "MultiModel", "ModelDataUrl": f"s3://{bucket}/models/"})

    def said(word):
        return ask(shared, name, b"1", ContentType="application/json", TargetModel=f"{word}.tar.gz")[0]

    assert [said(word) for word in "abab"] == [["a", 1], ["b", 1]] * 2
    with pytest.raises(ClientError, match=r"TargetModel 'c.tar.gz': s3://.*/models/c.tar.gz cannot be read"):
        said("c")
    with pytest.raises(ClientError, match="Name one by TargetModel"):
        ask(shared, name)


def test_what_does_not_fit_makes_room(shared, make, deploy, tmp_path):
    (tmp_path / "serve").write_text(ONE_MODEL)
    (tmp_path / "serve").chmod(0o755)
    bucket = shared.bucket(**{f"{word}.tar.gz": archive(word_txt=word) for word in ("a", "b")})
    many = {"Mode": "MultiModel", "ModelDataUrl": f"s3://{bucket}/", "Environment": {"PATH": str(tmp_path)}}
    kept, dropped = deploy(many), deploy(many | {"MultiModelConfig": {"ModelCacheSetting": "Disabled"}})
    for name in (kept, dropped):
        for word in ("a", "b", "b", "a"):
            said, _ = ask(shared, name, TargetModel=f"{word}.tar.gz")
            assert said == {"word": word, "target": f"{word}.tar.gz"}
    for name, unloaded in ((kept, ["a", "b"]), (dropped, ["a", "b", "b", "a"])):
        wanted = [f"unloaded {word}" for word in unloaded]

        def told(name=name):
            found = shared.lines(f"/aws/sagemaker/Endpoints/{name}", "v/").values()
            return [line for lines in found for line in lines if line.startswith("unloaded")]

        until(lambda told=told, wanted=wanted: told() == wanted, f"{name} has unloaded {unloaded}")
    with pytest.raises(ClientError, match="TargetModel is for multi-model endpoints"):
        ask(shared, deploy("one"), TargetModel="a.tar.gz")
    with pytest.raises(ClientError, match="Expected ModelDataUrl"):
        deploy({"Mode": "MultiModel"})


def test_a_shadow_gets_copies_and_nobody_its_answers(shared, deploy):
    bucket = shared.bucket()
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Output"}],
    }
    name = deploy("one", shadows=[{"VariantName": "s"}], capture={"DataCaptureConfig": capture})
    answers = [ask(shared, name)[1]["InvokedProductionVariant"] for _ in range(10)]
    assert set(answers) == {"v"}

    def captured(variant):
        keys = shared.keys(bucket, f"captured/{name}/{variant}/")
        return sum(len(shared.read(f"s3://{bucket}/{key}").splitlines()) for key in keys)

    until(lambda: captured("v") == captured("s") == 10, "all calls of both are captured")
    shown = shared.sagemaker.describe_endpoint(EndpointName=name)
    assert [item["VariantName"] for item in shown["ProductionVariants"]] == ["v"]
    assert [item["CurrentInstanceCount"] for item in shown["ShadowProductionVariants"]] == [1]
    with pytest.raises(ClientError, match="beside exactly one production variant"):
        deploy("one", variants=("v", "w"), shadows=[{"VariantName": "s"}])
