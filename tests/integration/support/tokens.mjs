// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens as anybody else would make them, and as an attacker would.

import {createHmac, createPrivateKey, createPublicKey, createSign, generateKeyPairSync} from 'node:crypto';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

export const SECRET = 'a secret of more than thirty-two bytes';
export const now = () => Math.floor(Date.now() / 1000);

const part = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
export const claimsOf = (sub, more = {}) => ({sub, exp: now() + 600, ...more});

export function hs256(claims, secret = SECRET, header = {}) {
  const text = `${part({alg: 'HS256', typ: 'JWT', ...header})}.${part(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

export function signed(alg, claims, privateKey, header = {}) {
  const text = `${part({alg, typ: 'JWT', ...header})}.${part(claims)}`;
  const key = alg === 'ES256' ? {key: privateKey, dsaEncoding: 'ieee-p1363'} : privateKey;
  return `${text}.${createSign('sha256').update(text).sign(key).toString('base64url')}`;
}

export const unsigned = (alg, claims, signature = '') => `${part({alg})}.${part(claims)}.${signature}`;

// Through PEM: a key that was generated shares a lock with the job that did it, and in Node 18 to export it while that
// job is collected as garbage waits for itself.
const PEM = {publicKeyEncoding: {type: 'spki', format: 'pem'}, privateKeyEncoding: {type: 'pkcs8', format: 'pem'}};
const generated = (type, options) => createPrivateKey(generateKeyPairSync(type, {...options, ...PEM}).privateKey);
export const rsaKey = () => generated('rsa', {modulusLength: 2048});
export const ecKey = () => generated('ec', {namedCurve: 'P-256'});
export const pemOf = key => key.export({type: 'pkcs8', format: 'pem'});
export const publicPem = key => createPublicKey(key).export({type: 'spki', format: 'pem'});
export const jwks = keys => JSON.stringify({keys: Object.entries(keys).map(([kid, key]) => ({...createPublicKey(key).export({format: 'jwk'}), kid, use: 'sig'}))});

// A folder that ends with the test; write(name, text) gives the path.
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'mora-access-'));
  t.after(() => rmSync(path, {recursive: true}));
  return {path, write(name, text) { writeFileSync(join(path, name), text); return join(path, name); }};
}
