"""The verb `serve`: a model folder behind HTTP.

__main__   settings, model, server; how a start that fails is told
   │
server     gunicorn: one listening socket, workers forked after the model is loaded
   │
app        routes, statuses, headers          replies   errors as JSON
   ├── body     bytes of a request, within the limit
       ├── codecs   these bytes -> rows; predictions -> bytes, by Content-Type and Accept
   └── model    rows -> predictions
"""
