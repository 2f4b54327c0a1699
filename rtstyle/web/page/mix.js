// Mixes of two styles as text, as the server writes them: vangogh:0.6+wave:0.4.

export function mixText(first, second, share) {
  if (!second || second === first || share <= 0) return first;
  if (share >= 1) return second;
  return `${first}:${Number((1 - share).toFixed(4))}+${second}:${Number(share.toFixed(4))}`;
}

// Return the place of the style some steps after the first one; a second one that shows is skipped, or followed if it shows alone.
export function stepFirst(names, first, second, share, step) {
  const alone = second && share >= 1 ? second : first;
  const place = names.indexOf(alone) + step;
  const wrapped = (at) => (at + names.length) % names.length;
  return share > 0 && share < 1 && names.length > 2 && names[wrapped(place)] === second ? wrapped(place + step) : wrapped(place);
}

// Return the parts of a text as [name, share]; a style of that very name is one part.
export function parseMix(text, names) {
  if (names.includes(text)) return [[text, 1]];
  return text.split("+").map((part) => {
    const colon = part.lastIndexOf(":");
    return colon < 0 ? [part, 1] : [part.slice(0, colon), Number(part.slice(colon + 1))];
  });
}

// Return a mix for people, with the titles of its styles.
export function mixCaption(text, entries) {
  const parts = parseMix(text, [...entries.keys()]);
  const titles = parts.map(([name, share]) => [entries.get(name)?.title ?? name, Math.round(100 * share)]);
  return parts.length < 2 ? titles[0][0] : titles.map(([title, percent]) => `${title} ${percent} %`).join(" + ");
}
