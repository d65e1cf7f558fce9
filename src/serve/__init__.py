"""The verb `serve`: a model folder behind HTTP. One downward read.

    __main__   settings, model, server; how a start that fails is told
       │
    server     gunicorn: one listening socket, workers forked after the model is loaded, each a worker
       │
    gateway/   HTTP/1.1 on an event loop; `front` says where a whole request goes: `hot`, or the application
       │
    batcher    what waits for the model; `runner` runs it, `pace` says how
       │
    app        routes and headers; errors become JSON in replies
       ├── body     bytes of a request, within the limit
       └── services   the folder decides who answers an invocation
             ├── rows_service   an artifact: codecs -> model -> codecs, by Content-Type and Accept
             │      └── model      rows -> predictions, by the engine that it chose
             │            ├── onnx_engine    ONNX Runtime, where `train` has verified a program
             │            └── torch_engine   PyTorch, for everything else; the one module that imports torch
             └── handlers       a user's inference.py: user_functions, defaults, streams, combiner

A WebSocket is a `conversation` with the same services. A multi-model endpoint has another app, models_app, over a
registry of model_processes, each of which has its services.

Nothing here writes to disk but gunicorn's heartbeat files, long bodies and a user's requirements, in the temporary
folder.
"""
