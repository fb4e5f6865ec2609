"""Manifests of schema 1, which Docker pushed before 1.10: sign them, so that a registry takes them.

A registry stores such a manifest without its signatures, signs it with a key of its own whenever
it serves it, and takes it only with a valid signature, by whatever key. The digest does not cover
the signatures: what it stores again is the same. Source: ``jsonsign.go`` and ``ec_key.go`` of
docker/libtrust, ``registry/storage/signedmanifesthandler.go`` of distribution 2.8.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime

SCHEMA_1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
"""Media types; signed manifests have the second one."""

_COORDINATE_BYTES = 32
_KEY_NAME_BYTES = 30
_GROUP = 4


def signed(payload: bytes, now: float) -> bytes:
    """Return a manifest with a signature by a new key; ``now`` is in Unix seconds.

    One that has signatures already, or is no JSON object, stays as it is.
    """
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return payload
    if not isinstance(document, dict) or "signatures" in document:
        return payload
    head = payload.rstrip().removesuffix(b"}").rstrip()
    protected = _encode_json(
        {
            "formatLength": len(head),
            "formatTail": _encode(payload[len(head) :]),
            "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    key, signature = _sign(f"{protected}.{_encode(payload)}".encode())
    block = {"header": {"jwk": key, "alg": "ES256"}, "signature": signature, "protected": protected}
    return head + b',"signatures":[' + json.dumps(block).encode() + b"]" + payload[len(head) :]


def _sign(content: bytes) -> tuple[dict[str, str], str]:
    """Return a new public key and its signature of the content."""
    # slow to import, and hardly any store has such manifests
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
    )

    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key()
    numbers = public.public_numbers()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = {
        "crv": "P-256",
        "kid": _key_name(encoded),
        "kty": "EC",
        "x": _encode(numbers.x.to_bytes(_COORDINATE_BYTES, "big")),
        "y": _encode(numbers.y.to_bytes(_COORDINATE_BYTES, "big")),
    }
    r, s = utils.decode_dss_signature(private.sign(content, ec.ECDSA(SHA256())))
    signature = b"".join(each.to_bytes(_COORDINATE_BYTES, "big") for each in (r, s))
    return key, _encode(signature)


def _key_name(encoded: bytes) -> str:
    """Return what libtrust calls a key: 240 bits of its hash, in groups of four characters."""
    text = base64.b32encode(hashlib.sha256(encoded).digest()[:_KEY_NAME_BYTES]).decode("ascii")
    return ":".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _encode_json(document: object) -> str:
    return _encode(json.dumps(document).encode())


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
