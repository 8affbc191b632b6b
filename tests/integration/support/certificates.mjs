// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, each signed by itself, in a folder that goes with the process.
//
//   const {certificate, key} = makeCertificate('chat', ['chat.test', '*.chat.test']);    // two file names
//   thisMachine()                                                   // one for localhost, 127.0.0.1, ::1

import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {isIP} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

let folder;
export function certificateFolder() {
  if (!folder) {
    folder = mkdtempSync(join(tmpdir(), 'mora-tls-'));
    process.on('exit', () => rmSync(folder, {recursive: true, force: true}));
  }
  return folder;
}

export function makeCertificate(name, names, extra = []) {
  const files = {certificate: join(certificateFolder(), `${name}.pem`), key: join(certificateFolder(), `${name}.key`)};
  const alternatives = names.map(each => `${isIP(each) ? 'IP' : 'DNS'}:${each}`).join();
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                           '-keyout', files.key, '-out', files.certificate, '-subj', `/CN=${names[0]}`,
                           '-addext', `subjectAltName=${alternatives}`, ...extra], {stdio: 'pipe'});
  return files;
}

let own;
export const thisMachine = () => (own ??= makeCertificate('this-machine', ['localhost', '127.0.0.1', '::1']));
