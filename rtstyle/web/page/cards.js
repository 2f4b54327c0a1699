// The cards that styles are chosen by.

// Return a card; `chosen` is the name of the style that is chosen first, or a mix, which belongs to no card.
export function card(style, chosen) {
  const label = document.createElement("label"), input = document.createElement("input");
  const name = document.createElement("span"), painter = document.createElement("span");
  label.className = style.unfinished ? "style unfinished" : "style";
  Object.assign(input, { type: "radio", name: "style", value: style.name, checked: style.name === chosen });
  [name.textContent, painter.textContent, painter.className] = [style.title, shortName(style.painter), "painter"];
  label.title = style.painter ? `${style.title}, ${style.painter}` : style.title;
  label.append(input);
  if (style.preview) label.append(Object.assign(new Image(), { src: style.preview, alt: "", loading: "lazy" }));
  label.append(name, ...(style.painter ? [painter] : []));
  return label;
}

// A card has room for the last name of a painter; all of it is in the title.
function shortName(painter) {
  return painter.split(",")[0].replace(/^\S+ (?=\S)/, "");
}
