"""HTTP/1.1 in front of the application: what a worker's one thread does with its connections.

    loop          epoll: reads, writes, time-outs, the end
      ├── door        listening sockets
      ├── seats       accepted connections go to the worker that has the fewest
      ├── intake      bytes of one connection -> whole requests, within limits
      │     ├── head      method, address, headers: strictly, by httptools
      │     └── chunks    a body in chunks
      ├── connection  one client, and the request that is being answered
      └── reply       answers as bytes
    wsgi          the application in threads, answers that stream
    websocket     what a connection can turn into: messages both ways
      └── incoming  those of the client
    outlet        parts of an answer, from a thread to a client that may be slow

Other threads reach the loop through `post`, nothing else.
"""
