#!/usr/bin/env python3
"""Golden vectors for signed documents, made and checked without any code of ours.

    python3 make.py            writes the vectors beside this file
    python3 make.py --check    verifies them with the independent verifier below

Needs `cryptography`; one vector needs `securesystemslib` (TUF's library, an independent DSSE implementation).
The keys are derived from public sentences: they are worth nothing and no key file exists.
"""

import base64
import binascii
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
TYPES = ["release", "plan", "routes", "trust", "audit", "receipt", "revocation", "exec", "secret",
         "backup", "loss"]
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the curve's base point
B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def media(kind):
    return f"application/vnd.windlass.{kind}.v1+json"


def key(name):
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"windlass test key " + name.encode()).digest())


def raw(name):
    return key(name).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def keyid(name):
    return hashlib.sha256(raw(name)).hexdigest()


def b64(data):
    return base64.b64encode(data).decode()


def pae(kind, body):
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(body), body)


def sign(name, kind, body, id=...):
    entry = {"sig": b64(key(name).sign(pae(kind, body)))}
    if id is not None:
        entry["keyid"] = keyid(name) if id is ... else id
    return entry


def envelope(kind, body, signatures):
    return {"payloadType": kind, "payload": b64(body), "signatures": signatures}


def text(value):
    return json.dumps(value, separators=(",", ":")).encode()


R = media("release")
BODY = text({"fleet": "demo", "service": "web", "environment": "production", "counter": "r7"})
GOOD = envelope(R, BODY, [sign("ada", R, BODY)])
VECTORS = []


def vector(name, data, expect="ok", want="release", keys=("ada", "bob"), threshold=1, max_len=4096, decode="ok"):
    data = data if isinstance(data, bytes) else text(data)
    VECTORS.append((f"{name}.json", data, {
        "file": f"{name}.json", "want": want, "keys": list(keys), "threshold": threshold,
        "max_len": max_len, "expect": expect, "decode": decode,
    }))


def changed(**fields):
    return {**GOOD, **fields}


def with_signature(**fields):
    return changed(signatures=[{**GOOD["signatures"][0], **fields}])


def malleable(signature):
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + s.to_bytes(32, "little")


def loose_bits(encoded):
    """The same bytes, spelled with unused bits set."""
    body = encoded.rstrip("=")
    return body[:-1] + B64[B64.index(body[-1]) | 1] + "=" * (len(encoded) - len(body))


def valid():
    for kind in TYPES:
        body = text({"fleet": "demo", "kind": kind})
        vector(f"valid-{kind}", envelope(media(kind), body, [sign("ada", media(kind), body)]), want=kind)
    two = envelope(R, BODY, [sign("ada", R, BODY), sign("bob", R, BODY)])
    vector("valid-two-of-two", two, threshold=2)
    vector("valid-without-keyid", envelope(R, BODY, [sign("ada", R, BODY, None)]))
    vector("valid-empty-keyid", envelope(R, BODY, [sign("ada", R, BODY, "")]))
    vector("valid-foreign-keyid", envelope(R, BODY, [sign("ada", R, BODY, "file:keys/ada.pub")]))
    vector("valid-keyid-of-another-key", envelope(R, BODY, [sign("ada", R, BODY, keyid("bob"))]))
    rsa = {"keyid": "rsa", "sig": b64(bytes(256))}
    vector("valid-beside-another-algorithm", envelope(R, BODY, [rsa, sign("ada", R, BODY)]))
    bad = {"keyid": keyid("bob"), "sig": b64(bytes(64))}
    vector("valid-beside-a-bad-one", envelope(R, BODY, [bad, sign("ada", R, BODY)]))
    vector("valid-indented", json.dumps(GOOD, indent=2).encode() + b"\n")
    vector("valid-escaped", text(GOOD).replace(b"application/", b"application\\/"))
    reordered = {name: GOOD[name] for name in ("signatures", "payload", "payloadType")}
    vector("valid-reordered", reordered)
    binary = bytes(range(256))
    vector("valid-binary-payload", envelope(R, binary, [sign("ada", R, binary)]), decode="malformed")
    empty = envelope(R, b"", [sign("ada", R, b"")])
    vector("valid-empty-payload", empty, decode="malformed")
    try:
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import CryptoSigner
        foreign = Envelope(BODY, R, {})
        foreign.sign(CryptoSigner(key("ada")))
        vector("valid-securesystemslib", foreign.to_dict())
    except ImportError:
        kept = HERE / "valid-securesystemslib.json"
        vector("valid-securesystemslib", kept.read_bytes())


def signatures():
    vector("unsigned", changed(signatures=[]), "below_threshold")
    vector("one-of-two", GOOD, "below_threshold", threshold=2)
    twice = [sign("ada", R, BODY), sign("ada", R, BODY, keyid("bob")), sign("ada", R, BODY, None)]
    vector("one-key-three-times", envelope(R, BODY, twice), "below_threshold", threshold=2)
    vector("unknown-key", envelope(R, BODY, [sign("eve", R, BODY)]), "unknown_key")
    vector("unknown-key-without-keyid", envelope(R, BODY, [sign("eve", R, BODY, None)]), "bad_signature")
    vector("unknown-key-under-a-known-keyid", envelope(R, BODY, [sign("eve", R, BODY, keyid("ada"))]), "bad_signature")
    vector("no-key-may-sign", GOOD, "unknown_key", keys=())
    other = BODY.replace(b"r7", b"r8")
    vector("tampered-payload", changed(payload=b64(other)), "bad_signature")
    plan = media("plan")
    vector("signed-as-another-type", envelope(R, BODY, [sign("ada", plan, BODY)]), "bad_signature")
    without_pae = {"keyid": keyid("ada"), "sig": b64(key("ada").sign(BODY))}
    vector("signed-without-pae", envelope(R, BODY, [without_pae]), "bad_signature")
    over_base64 = {"keyid": keyid("ada"), "sig": b64(key("ada").sign(pae(R, b64(BODY).encode())))}
    vector("signed-over-base64", envelope(R, BODY, [over_base64]), "bad_signature")
    made = base64.b64decode(GOOD["signatures"][0]["sig"])
    vector("malleable-signature", with_signature(sig=b64(malleable(made))), "bad_signature")
    vector("short-signature", with_signature(sig=b64(made[:63])), "bad_signature")
    vector("long-signature", with_signature(sig=b64(made + b"\0")), "bad_signature")
    vector("zero-signature", with_signature(sig=b64(bytes(64))), "bad_signature")
    vector("empty-signature", with_signature(sig=""), "bad_signature")


def types():
    plan = media("plan")
    vector("another-type", envelope(plan, BODY, [sign("ada", plan, BODY)]), "wrong_type")
    for name, kind in [
        ("unknown-type", "application/vnd.in-toto+json"),
        ("type-with-a-parameter", R + "; charset=utf-8"),
        ("type-in-capitals", R.upper()),
        ("type-of-another-version", R.replace(".v1", ".v2")),
        ("empty-type", ""),
    ]:
        vector(name, envelope(kind, BODY, [sign("ada", kind, BODY)]), "wrong_type")


def shapes():
    raw_text = text(GOOD)
    sig = GOOD["signatures"][0]
    vector("unknown-field", changed(extra=1), "malformed")
    vector("unknown-field-in-a-signature", with_signature(extra=1), "malformed")
    vector("duplicate-payload", raw_text[:-1] + b',"payload":"' + GOOD["payload"].encode() + b'"}', "malformed")
    vector("duplicate-behind-an-escape", raw_text[:-1] + b',"p\\u0061yload":"e30="}', "malformed")
    vector("duplicate-sig", raw_text.replace(b'{"sig":', b'{"sig":"","sig":'), "malformed")
    for name in GOOD:
        vector(f"missing-{name}", {k: v for k, v in GOOD.items() if k != name}, "malformed")
    vector("missing-sig", changed(signatures=[{"keyid": sig["keyid"]}]), "malformed")
    vector("null-signatures", changed(signatures=None), "malformed")
    vector("null-payload", changed(payload=None), "malformed")
    vector("null-keyid", with_signature(keyid=None), "malformed")
    vector("number-as-keyid", with_signature(keyid=1), "malformed")
    vector("signature-as-text", changed(signatures=[sig["sig"]]), "malformed")
    vector("array-instead-of-object", [R, GOOD["payload"], [sig]], "malformed")
    vector("signature-as-array", changed(signatures=[[sig["keyid"], sig["sig"]]]), "malformed")
    vector("trailing-bytes", raw_text + b"x", "malformed")
    vector("two-envelopes", raw_text + raw_text, "malformed")
    vector("cut-off", raw_text[:-2], "malformed")
    vector("empty", b"", "malformed")
    vector("not-utf8", raw_text.replace(b"payloadType", b"payloadTyp\xff"), "malformed")
    odd = BODY + b" " * ((1 - len(BODY)) % 3)  # a length whose base64 has padding
    assert len(odd) % 3 == 1
    padded = envelope(R, odd, [sign("ada", R, odd)])
    vector("base64-without-padding", {**padded, "payload": padded["payload"].rstrip("=")}, "malformed")
    vector("base64-with-loose-bits", {**padded, "payload": loose_bits(padded["payload"])}, "malformed")
    vector("base64-with-a-line-break", changed(payload=GOOD["payload"][:8] + "\n" + GOOD["payload"][8:]), "malformed")
    url = bytes([0xFB, 0xFF, 0xBE])
    vector("base64-url-safe", {**envelope(R, url, [sign("ada", R, url)]), "payload": "-_--"}, "malformed")
    vector("sig-with-loose-bits", with_signature(sig=loose_bits(sig["sig"])), "malformed")
    vector("sig-without-padding", with_signature(sig=sig["sig"].rstrip("=")), "malformed")
    nested = b'{"payloadType":' + b"[" * 5000 + b"]" * 5000 + b"}"
    vector("deep-envelope", nested, "malformed")


def sizes():
    vector("payload-at-the-limit", GOOD, max_len=len(BODY))
    vector("payload-over-the-limit", GOOD, "too_large", max_len=len(BODY) - 1)
    big = text({"x": "y" * 60000})
    vector("envelope-over-the-limit", envelope(R, big, [sign("ada", R, big)]), "too_large", max_len=64)
    many = [sign("ada", R, BODY)] * 16
    vector("sixteen-signatures", envelope(R, BODY, many))
    vector("seventeen-signatures", envelope(R, BODY, many + many[:1]), "too_large")


def payloads():
    for name, body in [
        ("duplicate", b'{"a":1,"a":1}'),
        ("duplicate-deep-inside", b'{"x":[{"y":{"a":1,"b":2,"a":1}}]}'),
        ("trailing", b'{"a":1} {}'),
        ("array", b"[1]"),
        ("depth-33", b'{"a":' + b"[" * 32 + b"]" * 32 + b"}"),
    ]:
        vector(f"payload-{name}", envelope(R, body, [sign("ada", R, body)]), decode="malformed")
    body = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
    vector("payload-depth-32", envelope(R, body, [sign("ada", R, body)]))


# ---- the independent verifier ------------------------------------------------------------------------------


class Refused(Exception):
    pass


def need(condition, code):
    if not condition:
        raise Refused(code)


def unique(pairs):
    need(len({name for name, _ in pairs}) == len(pairs), "malformed")
    return dict(pairs)


def strict_json(data, depth):
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    need(isinstance(value, dict) and measure(value) <= depth, "malformed")
    return value


def measure(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max((measure(item) for item in inner), default=0)


def strict_base64(encoded):
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("malformed") from None
    need(b64(data) == encoded, "malformed")
    return data


def verify(data, want, keys, threshold, max_len):
    need(len(data) <= max_len * 4 // 3 + 32 * 1024, "too_large")
    outer = strict_json(data, 4)
    need(set(outer) == {"payloadType", "payload", "signatures"}, "malformed")
    need(isinstance(outer["payloadType"], str) and isinstance(outer["payload"], str), "malformed")
    need(isinstance(outer["signatures"], list), "malformed")
    need(len(outer["signatures"]) <= 16, "too_large")
    found = []
    for entry in outer["signatures"]:
        need(isinstance(entry, dict) and "sig" in entry and set(entry) <= {"sig", "keyid"}, "malformed")
        need(isinstance(entry["sig"], str) and isinstance(entry.get("keyid", ""), str), "malformed")
        found.append((entry.get("keyid") or None, strict_base64(entry["sig"])))
    body = strict_base64(outer["payload"])
    need(len(body) <= max_len, "too_large")
    need(outer["payloadType"] == media(want), "wrong_type")
    need(keys, "unknown_key")
    need(found, "below_threshold")
    message, signers = pae(outer["payloadType"], body), set()
    for _, signature in found:
        for public in keys:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
                signers.add(public)
            except InvalidSignature:
                pass
    if not signers:
        ids = {hashlib.sha256(public).hexdigest() for public in keys}
        named = any(hint is None or hint in ids for hint, _ in found)
        raise Refused("bad_signature" if named else "unknown_key")
    need(len(signers) >= threshold, "below_threshold")
    return body


def check():
    index = json.loads((HERE / "index.json").read_text())
    public = {name: base64.b64decode(entry["public"]) for name, entry in index["keys"].items()}
    wrong = 0
    for case in index["vectors"]:
        data = (HERE / case["file"]).read_bytes()
        keys = [public[name] for name in case["keys"]]
        decoded = "ok"
        try:
            body = verify(data, case["want"], keys, case["threshold"], case["max_len"])
            got = "ok"
            try:
                strict_json(body, 32)
            except Refused as refused:
                decoded = str(refused)
        except Refused as refused:
            got = str(refused)
        if (got, decoded) != (case["expect"], case["decode"]):
            print(f"{case['file']}: {got}/{decoded}, expected {case['expect']}/{case['decode']}")
            wrong += 1
    print(f"{len(index['vectors'])} vectors, {wrong} wrong")
    return wrong


def write():
    for part in (valid, signatures, types, shapes, sizes, payloads):
        part()
    for file, data, _ in VECTORS:
        (HERE / file).write_bytes(data)
    keys = {name: {"keyid": keyid(name), "public": b64(raw(name))} for name in ("ada", "bob", "eve")}
    index = {"keys": keys, "vectors": [entry for _, _, entry in VECTORS]}
    (HERE / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{len(VECTORS)} vectors written")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(1 if check() else 0)
    write()
