// SPDX-License-Identifier: Apache-2.0
// Bars with their intervals, as an SVG that reads on light and dark pages.

const escape = text => String(text).replace(/[&<>"]/g, each => ({'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;'}[each]));
const LEFT = 130, WIDTH = 720, ROW = 26, TOP = 40, RIGHT = 110;

export const short = value => (value === 0 ? '0' : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3))));

// bars: [{name, value, low, high, own}], in the order they are drawn. A logarithmic axis where they lie far apart.
export function barChart({title, unit, bars}) {
  const largest = Math.max(...bars.map(({high}) => high)), smallest = Math.min(...bars.map(({low}) => low).filter(low => low > 0));
  const logarithmic = largest / smallest > 20;
  const from = logarithmic ? 10 ** Math.floor(Math.log10(smallest)) : 0;
  const room = WIDTH - LEFT - RIGHT;
  const x = value => LEFT + room * (logarithmic ? Math.max(0, Math.log(Math.max(value, from) / from)) / Math.log(largest / from) : value / largest);
  const height = TOP + bars.length * ROW + 30;
  const row = ({name, value, low, high, own}, i) => {
    const y = TOP + i * ROW, middle = y + 9;
    return `<text x="${LEFT - 8}" y="${middle + 4}" text-anchor="end">${escape(name)}</text>` +
      `<rect x="${LEFT}" y="${y}" width="${Math.max(1, x(value) - LEFT).toFixed(1)}" height="18" fill="${own ? '#2a78b8' : '#9aa7b1'}"/>` +
      `<path d="M${x(low).toFixed(1)} ${middle}H${x(high).toFixed(1)}M${x(low).toFixed(1)} ${middle - 4}v8M${x(high).toFixed(1)} ${middle - 4}v8" stroke="#c8553d" fill="none"/>` +
      `<text x="${(x(high) + 6).toFixed(1)}" y="${middle + 4}">${short(value)}</text>`;
  };
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13" fill="#76828c">\n` +
    `<text x="8" y="20" font-size="15">${escape(title)}</text>\n${bars.map(row).join('\n')}\n` +
    `<text x="${LEFT}" y="${height - 10}">${escape(unit)}${logarithmic ? ', logarithmic' : ''}; less is better</text>\n</svg>\n`;
}
