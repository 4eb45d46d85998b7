"""The certificate of ``llmwatch faults serve``: from files, or made on the spot."""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass

import typer

__all__ = ["Certificate", "from_files", "made_on_the_spot"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's TLS context, and the file with its authority if the certificate was made here."""

    context: ssl.SSLContext
    authority: str | None = None

    def forget(self) -> None:
        """Delete the file of the authority, if there is one."""
        if self.authority is not None:
            with suppress(OSError):
                os.unlink(self.authority)


def from_files(cert: str, key: str | None) -> Certificate:
    """The certificate in PEM files.

    Raises ``typer.BadParameter`` for files that cannot be read or do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key would ask at the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no key without a password"
        raise typer.BadParameter(
            f"no certificate with its key can be read there ({why}).", param_hint="--cert"
        ) from None
    return Certificate(context)


def made_on_the_spot() -> Certificate:
    """A certificate for 127.0.0.1 and localhost, with an authority of its own.

    The key is in no file afterwards. Raises ``typer.BadParameter`` without trustme: Python's own ssl makes none.
    """
    try:
        import trustme
    except ImportError:
        raise typer.BadParameter(
            "it needs trustme, which makes the certificate: pip install 'llmwatch[tls]', or name one by --cert.",
            param_hint="--tls",
        ) from None
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with tempfile.NamedTemporaryFile(prefix="llmwatch-authority-", suffix=".pem", delete=False) as file:
        file.write(authority.cert_pem.bytes())
    return Certificate(context, file.name)
