// What the reader has chosen, kept by the browser.

const PREFIX = "obs-view.";

export function remembered(key, fallback) {
  try {
    const value = localStorage.getItem(PREFIX + key);
    return value === null ? fallback : JSON.parse(value);
  } catch {
    return fallback;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // a browser that keeps nothing is used as it is
  }
}
