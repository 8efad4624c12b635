"""Check what HTTP clients read from the environment, before anything is sent: proxies, certificates, keys."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.core.errors import UserError

_PROXIES = ("all_proxy", "http_proxy", "https_proxy")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_LOOPBACK = ("localhost", "::1")


def is_loopback(address: str | None) -> bool:
    """Is this the address of a server on this machine? Requests to it go through no proxy."""
    host = urlsplit(address or "").hostname or ""
    return host in _LOOPBACK or host.startswith("127.") or host.endswith(".localhost")


def check_environment(address: str | None) -> None:
    """Raises UserError for a variable that the client cannot use. `address`: of the server; None: the provider's own."""
    named = [] if is_loopback(address) else list(_set_variables((*_PROXIES, "no_proxy")))
    for name in named:
        if not name.lower().startswith("no_"):
            _check_proxy(name, os.environ[name])
    if named:
        _check_together(named)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name)
        if path and not os.path.exists(path):
            raise UserError(f"The environment variable {name} names {path}, which does not exist: correct or unset it.")


def header_value(name: str) -> str:
    """The value of an environment variable that is sent in a header, without blanks around it; empty if it is not set.

    Raises UserError, without the value, for one that no header can carry.
    """
    value = os.environ.get(name, "").strip()
    if re.search(r"\s", value):
        raise UserError(f"The environment variable {name} has white space inside: it holds more than the key alone.")
    if not value.isascii() or not value.isprintable():
        raise UserError(f"The environment variable {name} has a character that no key has: copy it anew.")
    return value


def check_keys() -> None:
    """The same for every variable whose name is that of a provider's key."""
    for name in sorted(os.environ):
        if name.endswith("_API_KEY"):
            header_value(name)


def _set_variables(names: tuple[str, ...]) -> Iterator[str]:
    yield from (form for name in names for form in (name, name.upper()) if os.environ.get(form))


def _check_together(names: list[str]) -> None:
    """Let the client itself read the variables that name proxies and exceptions from them."""
    import httpx

    try:
        httpx.Client().close()
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise UserError(f"The HTTP client cannot use {' and '.join(names)} of the environment: {error}") from None


def _check_proxy(name: str, value: str) -> None:
    scheme = urlsplit(value if "://" in value else f"http://{value}").scheme.lower()
    if scheme not in _SCHEMES:
        raise UserError(f"The environment variable {name} names a proxy of the kind {scheme}://, which is not supported.")
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise UserError(f"The environment variable {name} names a SOCKS proxy: install socksio for it, or unset it.")
