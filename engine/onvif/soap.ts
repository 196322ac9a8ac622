/** SOAP 1.2 envelopes with a WS-Security UsernameToken (ONVIF Core Specification, section 5.9.4), and faults. */
import { createHash, randomBytes } from 'node:crypto';
import { NS, PASSWORD_DIGEST } from './names.ts';
import { escapeXml, find, findAll, localName, parseXmlInTurns, textAt, type XmlElement } from './xml.ts';

export interface Account {
  username: string;
  password: string;
}

/** @param deviceMs the device's clock: it refuses tokens of another time */
export function securityHeader({ username, password }: Account, deviceMs: number, nonce = randomBytes(16)): string {
  const created = new Date(deviceMs).toISOString();
  const digest = createHash('sha1')
    .update(Buffer.concat([nonce, Buffer.from(created + password, 'utf8')]))
    .digest('base64');
  return (
    `<wsse:Security xmlns:wsse="${NS.security}" xmlns:wsu="${NS.utility}" s:mustUnderstand="1"><wsse:UsernameToken>` +
    `<wsse:Username>${escapeXml(username)}</wsse:Username><wsse:Password Type="${PASSWORD_DIGEST}">${digest}</wsse:Password>` +
    `<wsse:Nonce EncodingType="${NONCE_ENCODING}">${nonce.toString('base64')}</wsse:Nonce>` +
    `<wsu:Created>${created}</wsu:Created></wsse:UsernameToken></wsse:Security>`
  );
}

const NONCE_ENCODING = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary';

/** @param headers parts of the header, as XML with the prefix `s` for SOAP */
export function envelope(body: string, headers = ''): string {
  const header = headers ? `<s:Header>${headers}</s:Header>` : '';
  return `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="${NS.soap}">${header}<s:Body>${body}</s:Body></s:Envelope>`;
}

export interface Fault {
  /** Local names of code and subcodes, outermost first: `Sender`, `InvalidArgVal`, `NoToken`. */
  codes: string[];
  reason: string;
}

/** What the body of an answer has: an element, or a fault. Rejects with `bad-xml`. */
export async function parseEnvelope(text: string): Promise<{ body: XmlElement } | { fault: Fault }> {
  const root = await parseXmlInTurns(text);
  // Devices from before ONVIF 2 answer in other namespaces now and then; the names are what counts.
  const body = root.name === 'Envelope' ? find(root, 'Body')?.children[0] : undefined;
  if (!body) return { fault: { codes: ['NoEnvelope'], reason: 'the answer is no SOAP envelope' } };
  if (body.name !== 'Fault') return { body };
  const codes: string[] = [];
  for (let code = find(body, 'Code'); code; code = find(code, 'Subcode')) codes.push(localName(textAt(code, 'Value')));
  const reason = findAll(find(body, 'Reason'), 'Text')[0]?.text ?? textAt(body, 'faultstring');
  return { fault: { codes, reason: reason.slice(0, 1000).replace(/\s+/g, ' ').slice(0, 200) } };
}

export function isUnauthorized({ codes }: Fault): boolean {
  return codes.some((code) => code === 'NotAuthorized' || code === 'FailedAuthentication' || code === 'FailedCheck');
}
