// What arrives of a map in packed bytes, found again by the map that is drawn of it.
const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
const PARCELS = (globalThis.routescopeParcels ??= new Map());
const ARRIVED = "routescope-parcel";
const CELLS = 1024; // of the index, a side
const SIDE = 65535; // the last place of the map's square
const AREA_SIDE = 9999; // in links, where the square has a margin of 1: its edges can be drawn around
const CORNERS = 32; // of an area, at most

/** A header of JSON and arrays behind it, each from a multiple of four bytes on. */
function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  for (const [name, kind, count] of header.arrays) {
    const Type = KINDS[kind];
    const size = count * Type.BYTES_PER_ELEMENT;
    const start = bytes.byteOffset + at;
    header[name] = start % Type.BYTES_PER_ELEMENT
      ? new Type(bytes.slice(at, at + size).buffer)
      : new Type(bytes.buffer, start, count);
    at += Math.ceil(size / 4) * 4;
  }
  return header;
}

/** The last two of a kind stay: the one that is drawn, and the one that follows it. */
function keepParcel(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const parcel = unpack(bytes);
  if (PARCELS.get(parcel.id)) return;
  const alike = [...PARCELS.values()].filter((one) => one.kind === parcel.kind);
  if (alike.length > 1) PARCELS.delete(alike[0].id);
  PARCELS.set(parcel.id, parcel);
  globalThis.dispatchEvent(new Event(ARRIVED));
}

/** A byte a point; null: there are no bits, all are alike. */
function unpackedBits(bits, count) {
  return bits ? Uint8Array.from({ length: count }, (_, at) => (bits[at >> 3] >> (at & 7)) & 1) : null;
}

/** Points by the cell that they lie in: those of cell c are order[start[c]] to order[start[c + 1] - 1]. */
function indexed(points) {
  const { x, y } = points;
  const shift = Math.log2((SIDE + 1) / CELLS);
  const start = new Uint32Array(CELLS * CELLS + 1);
  const cell = (point) => (y[point] >> shift) * CELLS + (x[point] >> shift);
  for (let point = 0; point < x.length; point++) start[cell(point) + 1]++;
  for (let c = 0; c < CELLS * CELLS; c++) start[c + 1] += start[c];
  const next = start.slice(0, -1);
  const order = new Uint32Array(x.length);
  for (let point = 0; point < x.length; point++) order[next[cell(point)]++] = point;
  return { start, order, shift };
}

/** The nearest point within a radius (in the map's units) that may be met, or -1. */
function nearest(points, index, x, y, radius, may) {
  const { start, order, shift } = index;
  const clamp = (value) => Math.max(0, Math.min(CELLS - 1, value >> shift));
  const [left, right] = [clamp(x - radius), clamp(x + radius)];
  let [best, least] = [-1, radius * radius];
  for (let row = clamp(y - radius); row <= clamp(y + radius); row++) {
    const end = start[row * CELLS + right + 1];
    for (let at = start[row * CELLS + left]; at < end; at++) {
      const point = order[at];
      const away = (points.x[point] - x) ** 2 + (points.y[point] - y) ** 2;
      if (away < least && may(point)) [best, least] = [point, away];
    }
  }
  return best;
}

/** The run of neighbouring tokens that holds a point: runs are in order. */
function runOf(points, point) {
  let [low, high] = [0, points.run_start.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points.run_start[middle] <= point) low = middle;
    else high = middle;
  }
  return low;
}

/** The corner that changes an outline least goes first, until no more are left than a link may have. */
function simplified(outline) {
  const corners = outline.slice();
  const weight = (at) => {
    const [a, b, c] = [-1, 0, 1].map((step) => corners.at((at + step) % corners.length));
    return Math.abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]));
  };
  const weights = corners.map((_, at) => weight(at));
  while (corners.length > CORNERS) {
    const least = weights.indexOf(Math.min(...weights));
    corners.splice(least, 1);
    weights.splice(least, 1);
    for (const step of [-1, 0]) {
      const at = (least + step + corners.length) % corners.length;
      weights[at] = weight(at);
    }
  }
  return corners;
}

/** Three characters a number, in base 36: x and y of every corner from 0 to AREA_SIDE. */
const written = (corners) =>
  corners
    .flat()
    .map((part) => Math.round(Math.max(0, Math.min(1, (part + 1) / (SIDE + 2))) * AREA_SIDE).toString(36).padStart(3, "0"))
    .join("");

const read = (area) => {
  const numbers = (area.match(/.{3}/g) ?? []).map((part) => (parseInt(part, 36) / AREA_SIDE) * (SIDE + 2) - 1);
  return Array.from({ length: numbers.length >> 1 }, (_, at) => [numbers[2 * at], numbers[2 * at + 1]]);
};
