"""How schemathesis writes bodies of the types that it does not know: text and bytes as they are."""

import schemathesis
from twofold.formats.table import JSON, MEDIA_TYPES


@schemathesis.serializer(*(name for name in MEDIA_TYPES if name not in JSON.media_types))
def as_it_is(context, value):
    if isinstance(value, bytes):
        return value
    # What is wrong by its type must not become right as text.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"\xff" + repr(value).encode()
