"""Remove user and password of a tracking URI from messages, those of MLflow included."""

import re
from urllib.parse import unquote, urlsplit

_HIDDEN = "***"
_USERINFO = re.compile(r"(?<=://)[^\s/]*@")


def shown(uri: str) -> str:
    """The URI for printing: without user, password and query."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.startswith("sqlite"):
        return uri
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def without_secrets(text: str, uri: str) -> str:
    """`text`, such as an error message, without the secrets of `uri`."""
    text = text.replace(uri, shown(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _USERINFO.sub("", text)


def _secrets(uri: str) -> set[str]:
    """User with password, and the password alone, as written and decoded; the values of the query."""
    if shown(uri) == uri:
        return set()
    rest = uri.partition("://")[2]
    userinfo = rest.rpartition("@")[0]
    password = userinfo.partition(":")[2]
    values = [pair.partition("=")[2] for pair in urlsplit(uri).query.split("&")]
    found = {userinfo, password, *values}
    return {text for secret in found for text in (secret, unquote(secret)) if text}
