// The sliders of the form by name: the value at a place of each, the place of a value, and how a value is shown.

const $ = (id) => document.getElementById(id);
const percent = (value) => `${Math.round(100 * value)} %`;
const same = (value) => value;

const share = { value: same, place: same, shown: percent };
export const SLIDERS = {
  strength: share, colours: share, faces: share, inside: share, outside: share,
  scale: { value: (place) => 2 ** place, place: Math.log2, shown: (value) => `${value.toFixed(2).replace(/\.?0+$/, "")}×` },
  feather: { value: (place) => place * place, place: Math.sqrt, shown: (value) => `${Number(value.toFixed(1))} px` },
};

// Return the value of a slider.
export function read(name) {
  return SLIDERS[name].value(Number($(name).value));
}

// Return the values of all.
export function readAll() {
  return Object.fromEntries(Object.keys(SLIDERS).map((name) => [name, read(name)]));
}

// Move the sliders to the values of a state, but not the one that somebody holds.
export function place(state, held = null) {
  for (const [name, slider] of Object.entries(SLIDERS)) {
    if (state[name] !== undefined && $(name) !== held) $(name).value = slider.place(state[name]);
  }
}

// Show the values beside the sliders.
export function showAll() {
  $("mix-now").textContent = percent(Number($("mix").value));
  for (const name of Object.keys(SLIDERS)) $(`${name}-now`).textContent = SLIDERS[name].shown(read(name));
}
