/** The frames of `/ws/ssh` and `/ws/shared`: one binary message each, one type byte and a payload (docs/protocol.md, 6.2). */

export const DATA = 0x01;
export const RESIZE = 0x02;
export const PING = 0x03;
export const PONG = 0x04;
export const ERROR = 0x06;
export const RECONNECT = 0x07;
export const SESSION_INFO = 0x08;
export const NOTICE = 0x09;
export const UNOWNED = 0x0a;
export const WAITING = 0x0b;

const DATA_LIMIT_BYTES = 32 * 1024;
const decoder = new TextDecoder();

export const ping = () => Uint8Array.of(PING);
export const pong = () => Uint8Array.of(PONG);

/** `size` is `{cols, rows}`. */
export function resize(size) {
  const frame = new DataView(new ArrayBuffer(5));
  frame.setUint8(0, RESIZE);
  frame.setUint16(1, size.cols);
  frame.setUint16(3, size.rows);
  return frame.buffer;
}

/** The size in a Resize frame. */
export function size(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset);
  return { cols: view.getUint16(0), rows: view.getUint16(2) };
}

/** The bytes as Data frames of at most 32 KiB each: a large paste becomes several. */
export function* data(bytes) {
  for (let start = 0; start < bytes.length; start += DATA_LIMIT_BYTES) {
    const part = bytes.subarray(start, start + DATA_LIMIT_BYTES);
    const frame = new Uint8Array(1 + part.length);
    frame[0] = DATA;
    frame.set(part, 1);
    yield frame;
  }
}

/** Splits a message into its type and its payload. */
export function parse(buffer) {
  const message = new Uint8Array(buffer);
  return { type: message[0], payload: message.subarray(1) };
}

export const text = (payload) => decoder.decode(payload);

/** The 16 bytes of a reconnect token as the text that the URL carries. */
export function uuidText(payload) {
  const hex = Array.from(payload, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
