"""Prints data plane tokens made by PyJWT, as JSON. Arguments: the time when they end, and a URL that nobody should ask.
Standard input: the private key that the control plane has the public half of."""

import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

mine = sys.stdin.read()
exp, url = int(sys.argv[1]), sys.argv[2]

foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
jwk = jwt.algorithms.RSAAlgorithm.to_jwk(foreign.public_key(), as_dict=True)
der = foreign.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
theirs = {"jku": url, "x5u": url, "jwk": jwk, "x5c": [der.hex()], "x5t": "x"}


def token(key=mine, headers={}, algorithm="RS256", **claims):
    claims = {"Name": "dp-1", "Mesh": "default", "Tags": {"kuma.io/service": ["web"]}, "exp": exp} | claims
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "key-1"} | headers)


print(json.dumps({
    "plain": token(),
    "revoked": token(Tags={"kuma.io/service": ["web", "other"]}),
    "keys in the header": token(headers=theirs),
    "more claims": token(iss="https://issuer.example", aud=["a"], sub="s", groups=[1, 2.5, None]),
    "crit": token(headers={"crit": ["exp"]}),
    "another key, in the header": token(foreign, theirs),
    "another algorithm": token(algorithm="RS512"),
    "another service": token(Tags={"kuma.io/service": ["api"]}),
    "another mesh": token(Mesh="other"),
    "without an end": jwt.encode({"Mesh": "default"}, mine, algorithm="RS256", headers={"kid": "key-1"}),
    "expired": token(exp=exp - 7200),
}))
