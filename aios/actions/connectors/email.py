"""E-mail over SMTP: each action is a message whose Message-ID is made of the key."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from aios.actions.connectors.base import (
    Answer,
    Done,
    Failed,
    Refused,
    Request,
    Unavailable,
    Unsure,
)
from aios.errors import AiosError

if TYPE_CHECKING:
    from smtplib import SMTP

_TEXT = ("subject", "text")


class Email:
    """A mail server; it cannot be asked what became of a message.

    Args:
        address: `smtp://host:25?from=claims@insurer.example`; `smtps` is TLS from the start,
            `smtp+starttls` TLS before anything is said. `user:password@` only with TLS.
        timeout: Seconds for each word of the server.

    Raises:
        AiosError: The address is wrong, has no sender, or would send a password in the clear.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self._url, self._timeout = urlsplit(address), timeout
        self._sender = (parse_qs(self._url.query).get("from") or [""])[0]
        self._server: SMTP | None = None
        if problem := _problem(self._url, self._sender):
            raise AiosError(
                problem,
                where="actions.receivers",
                fix="Give an address such as smtp+starttls://${USER}:${PASSWORD}@host:587"
                "?from=claims@insurer.example.",
            )

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Send message by message over one connection.

        A payload has `subject` and `text`, and `to` where the request names no address.
        """
        return [self._send(request) for request in requests]

    def find(self, request: Request) -> Answer:
        """Mail cannot be asked for."""
        return Unsure("e-mail cannot be asked for")

    def close(self) -> None:
        """End the connection."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _send(self, request: Request) -> Answer:
        from smtplib import SMTPException, SMTPResponseException

        try:
            message = self._message(request)
        except (KeyError, ValueError, TypeError) as error:
            return Refused(f"no message: {type(error).__name__}")
        try:
            server = self._connected()
        except SMTPResponseException as error:
            self.close()
            return Unavailable(f"SMTP {error.smtp_code}")
        except (OSError, SMTPException):
            self.close()
            return Unavailable("no connection")
        return self._transfer(server, message)

    def _transfer(self, server: SMTP, message: EmailMessage) -> Answer:
        """Give a message to the server: until the DATA nothing is done, after it all may be."""
        from smtplib import SMTPDataError, SMTPException

        content = message.as_bytes()
        try:
            for code, _ in (server.mail(self._sender), server.rcpt(message["To"])):
                if code >= 400:
                    return self._denied(server, code)
        except (OSError, SMTPException):
            self.close()
            return Unavailable("the connection was cut")
        try:
            code, _ = server.data(content)
        except SMTPDataError as error:
            return self._denied(server, error.smtp_code)
        except (OSError, SMTPException):
            self.close()
            return Unsure("the connection was cut")
        if code >= 400:
            return self._denied(server, code)
        return Done({"message_id": message["Message-ID"], "status": code})

    def _denied(self, server: SMTP, code: int) -> Answer:
        # A new connection is sure to begin anew, which is not sure after a refusal.
        self.close()
        if code == 421:
            return Unavailable(f"SMTP {code}")
        return Refused(f"SMTP {code}") if code >= 500 else Failed(f"SMTP {code}")

    def _message(self, request: Request) -> EmailMessage:
        message = EmailMessage()
        subject, text = (request.payload[name] for name in _TEXT)
        message["From"] = self._sender
        message["To"] = request.to or request.payload["to"]
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{request.key}@{self._sender.rpartition('@')[2]}>"
        if request.undoes:
            message["References"] = f"<{request.undoes}@{self._sender.rpartition('@')[2]}>"
        if len(message["To"].addresses) != 1:
            raise ValueError("one address")
        message.set_content(text)
        return message

    def _connected(self) -> SMTP:
        """Return a connection that answers, the last one where it still does."""
        import smtplib
        import ssl

        if self._server is not None:
            with suppress(smtplib.SMTPException, OSError):
                if self._server.noop()[0] == 250:
                    return self._server
            self.close()
        host, port, seconds = self._url.hostname or "", self._url.port, self._timeout
        if self._url.scheme == "smtps":
            context = ssl.create_default_context()
            server: SMTP = smtplib.SMTP_SSL(host, port or 465, timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(host, port or 25, timeout=seconds)
        self._server = server
        server.ehlo_or_helo_if_needed()
        if self._url.scheme == "smtp+starttls":
            server.starttls(context=ssl.create_default_context())
        if self._url.username:
            server.login(unquote(self._url.username), unquote(self._url.password or ""))
        return server


def _problem(url: SplitResult, sender: str) -> str:
    """Return what is wrong with an address; nothing where it is right."""
    if url.scheme not in ("smtp", "smtps", "smtp+starttls") or not url.hostname:
        return "this is no address of a mail server"
    if "@" not in sender:
        return "the address of the mail server names no sender"
    if url.username and url.scheme == "smtp":
        return "a password is not sent in the clear"
    return ""
