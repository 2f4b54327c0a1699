// Mixes of two styles as text, as the server writes them: vangogh:0.6+wave:0.4, or wave@0.5 for half of its texture.

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

// Return a style without the texture that follows its name, and that texture; null for the style's own.
export function splitTexture(name, names) {
  const found = names.includes(name) ? null : /^(.*)@([0-9.e-]+)$/.exec(name);
  return found ? [found[1], Number(found[2])] : [name, null];
}

export function joinTexture(name, texture) {
  return texture === undefined || texture === null ? name : `${name}@${Number(texture.toFixed(2))}`;
}

// Return a mix for people, with the titles of its styles.
export function mixCaption(text, entries) {
  const names = [...entries.keys()], parts = parseMix(text, names);
  const title = ([name, texture]) => `${entries.get(name)?.title ?? name}${texture === null ? "" : ` (texture ${Math.round(100 * texture)} %)`}`;
  const titles = parts.map(([name, share]) => [title(splitTexture(name, names)), Math.round(100 * share)]);
  return parts.length < 2 ? titles[0][0] : titles.map(([title, percent]) => `${title} ${percent} %`).join(" + ");
}
