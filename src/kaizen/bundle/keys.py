"""The key pair that signs a project's bundles (Ed25519, RFC 8032), and the keys it trusts.

keys/signing.pem    private key, PKCS #8, mode 0600; made once, never overwritten
keys/signing.pub    public key, hex
keys/trusted        public keys of others, hex, one a line
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kaizen.core.errors import BundleError, SignatureError

PRIVATE = "signing.pem"
PUBLIC = "signing.pub"
TRUSTED = "trusted"


class SigningKey:
    """A private key; `public` is the hex of its public half."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Return the signature of a message, hex; the same message always gives the same signature."""
        return self._private.sign(message).hex()


def create(folder: Path) -> str:
    """Make the key pair if there is none, and return the public key, hex.

    Raises
    ------
    BundleError
        The folder cannot be written, or a key that is there cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = folder / PRIVATE
    if not private.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_once(private, pem)
        except OSError as err:
            raise BundleError(f"the signing key cannot be written: {err}", where=str(folder)) from err
    public = load(folder).public
    (folder / PUBLIC).write_text(public + "\n", encoding="ascii")
    return public


def load(folder: Path) -> SigningKey:
    """Return the signing key in a folder; `BundleError` if it is absent, unreadable or open to other users."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # 3 MiB that serving needs not

    path = folder / PRIVATE
    try:
        data, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError as err:
        raise BundleError("there is no signing key here", where=str(path), fix="make one: kaizen init") from err
    except OSError as err:
        raise BundleError(f"the signing key cannot be read: {err}", where=str(path)) from err
    if os.name == "posix" and mode & 0o077:
        raise BundleError(
            f"the signing key is open to other users (mode {mode:04o})", where=str(path), fix=f"chmod 600 {path}"
        )
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as err:
        raise BundleError("the signing key is damaged", where=str(path), fix="restore it from a backup") from err
    if not isinstance(private, Ed25519PrivateKey):
        raise BundleError("the signing key is not an Ed25519 key", where=str(path))
    return SigningKey(private)


def trusted(folder: Path) -> frozenset[str]:
    """Return the public keys whose bundles may be loaded: the project's own and those added by `trust`."""
    found: set[str] = set()
    for name in (PUBLIC, TRUSTED):
        path = folder / name
        if path.exists():
            found.update(line.strip() for line in path.read_text(encoding="ascii").splitlines() if line.strip())
    return frozenset(found)


def trust(folder: Path, public: str) -> None:
    """Add a public key (hex) to those whose bundles may be loaded; adding it again changes nothing."""
    _public_key(public)
    if public in trusted(folder):
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / TRUSTED).open("a", encoding="ascii") as file:
        file.write(public + "\n")


def is_signed(message: bytes, *, public: str, signature: str) -> bool:
    """Say whether the signature (hex) of the message was made with this public key (hex)."""
    try:
        _public_key(public).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_key(public: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    except ValueError as err:
        raise SignatureError(
            f"{public!r} is no Ed25519 public key", fix="give the 64 hexadecimal digits of the file keys/signing.pub"
        ) from err


def _write_once(path: Path, data: bytes) -> None:
    """Write a private file that appears whole or not at all, and never over another."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".signing-")  # mkstemp makes it mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process made the key first; its key is the key
    finally:
        os.unlink(temporary)
