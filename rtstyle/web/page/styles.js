// The choice of a style, of a second one that is mixed in, and of their texture.
import { card } from "./cards.js";
import { joinTexture, mixCaption, mixText, parseMix, splitTexture, stepFirst } from "./mix.js";

const $ = (id) => document.getElementById(id);

export class StyleChoice {
  // changed is called when somebody has chosen something; the names of styles come with fill.
  constructor(changed) {
    this.changed = changed;
    this.entries = new Map();
    this.textures = new Map(); // of styles that have another than their own
    $("styles").onchange = () => this.firstChosen();
    $("mix").oninput = changed;
    $("second").onchange = () => this.secondChosen();
    $("texture").oninput = () => this.textureChosen();
  }

  // Show the styles that there are now, and choose what was chosen, or what an unfinished style has become, or the first.
  fill(entries, training, first) {
    const before = this.text ?? first, second = $("second").value;
    const unfinished = training?.unfinished && { name: training.unfinished, title: `${training.title} …`, painter: "", unfinished: true };
    const shown = unfinished ? [...entries, unfinished] : entries;
    this.entries.clear();
    for (const one of shown) this.entries.set(one.name, one);
    for (const old of document.querySelectorAll(".style")) old.remove();
    $("styles").append(...shown.map((style) => card(style, before)));
    $("second").length = 1;
    $("second").append(...entries.map((one) => new Option(one.title, one.name)));
    $("second").value = entries.some((one) => one.name === second) ? second : "";
    this.show(before);
    for (const name of [training?.name, first]) if (!this.first) this.show(name);
  }

  // Choose a style alone, if there is such a one.
  use(name) {
    const radio = this.radios().find((one) => one.value === name);
    if (!radio) return;
    $("second").value = "";
    $("mix").value = 0;
    radio.checked = true;
    this.textures.clear();
    this.changed();
  }

  // The chosen style, mixed with the second one, and their texture.
  get text() {
    const textured = (name) => name && joinTexture(name, this.textures.get(name));
    return this.first && mixText(textured(this.first), textured($("second").value), this.share);
  }

  get caption() {
    return mixCaption(this.text ?? "", this.entries);
  }

  get first() {
    return this.radios().find((one) => one.checked)?.value;
  }

  get share() {
    return Number($("mix").value);
  }

  // The texture that a style has by itself; 0 if it has none to change.
  textureOf(name) {
    return this.entries.get(name)?.texture ?? 0;
  }

  // Show a style or a mix of two; a slider at its end keeps its second style.
  show(text) {
    if (!text || text === this.text) return;
    const names = [...this.entries.keys()], parts = parseMix(text, names);
    const [first, second] = parts.map(([name]) => splitTexture(name, names));
    const radio = this.radios().find((one) => one.value === first[0]);
    if (!radio || parts.length > 2) return;
    radio.checked = true;
    if ($("styles").scrollHeight > $("styles").clientHeight) radio.closest(".style").scrollIntoView({ block: "nearest" });
    if (second) $("second").value = second[0];
    if (document.activeElement !== $("mix")) $("mix").value = parts[1]?.[1] ?? 0;
    for (const [name, texture] of [first, second].filter((one) => one)) {
      if (texture === null) this.textures.delete(name);
      else this.textures.set(name, texture);
    }
  }

  // Return those of the shown styles that have a texture, the larger part first.
  withTexture() {
    const names = [this.first, $("second").value].filter((name) => name && this.textureOf(name));
    return this.share > 0.5 ? names.reverse() : names;
  }

  textureChosen() {
    for (const name of this.withTexture()) this.textures.set(name, Number($("texture").value));
    this.changed();
  }

  // Show the texture of the larger part.
  showTexture() {
    const [name] = this.withTexture();
    $("texture").disabled = !name;
    if (document.activeElement !== $("texture") || !name) $("texture").value = name ? this.textures.get(name) ?? this.textureOf(name) : 0;
    $("texture-now").textContent = name ? `${Math.round(100 * $("texture").value)} %` : "none";
  }

  // Choose the style at a place; the answer is a caption.
  choose(place) {
    const one = this.radios()[place];
    if (!one) return "";
    one.checked = true;
    this.firstChosen();
    return this.caption;
  }

  step(by) {
    const names = this.radios().map((one) => one.value);
    return this.choose(stepFirst(names, this.first, $("second").value, this.share, by));
  }

  // Mix with the style after the present second one, or after the first if there is none.
  nextSecond() {
    const select = $("second"), names = [...select.options].map((one) => one.value).filter((one) => one);
    const place = names.indexOf(select.value || this.first) + 1;
    select.value = names[(place + (names[place % names.length] === this.first)) % names.length];
    this.secondChosen();
    return this.caption;
  }

  radios() {
    return [...document.querySelectorAll("input[name=style]")];
  }

  // The second style and its share stay, unless it is the one that was chosen, or hides it.
  firstChosen() {
    if ($("second").value === this.first || this.share >= 1) {
      $("second").value = "";
      $("mix").value = 0;
    }
    this.textures.delete(this.first);
    this.changed();
  }

  secondChosen() {
    if (!$("second").value) $("mix").value = 0;
    else if (!this.share) $("mix").value = 0.5;
    this.changed();
  }
}
