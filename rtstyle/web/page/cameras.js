// The cameras of this browser.

// List them in a menu that has other choices too, once the browser tells their names.
export async function listCameras(menu) {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  const cameras = devices.filter((one) => one.kind === "videoinput" && one.deviceId && one.label);
  const now = menu.value;
  for (const old of [...menu.options]) if (!["camera", "watch"].includes(old.value)) old.remove();
  if (cameras.length > 1) for (const one of cameras) menu.append(new Option(one.label, one.deviceId));
  menu.value = now;
}
