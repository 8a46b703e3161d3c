"use strict";
// Everything shown comes from JSON and is set as text, never as markup.

const data = (id) => JSON.parse(document.getElementById(id).textContent);

/** An element with a class, properties and children; a string child is text. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toPrecision(3) + "G";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + "M";
  if (size !== 0 && size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(4)));
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const field = (id) => document.getElementById(id);
const count = (value) => value.toLocaleString("en");

// ---- pictures: decoded when they come near the screen

let pictures = {};

const watcher = new IntersectionObserver((seen) => {
  for (const one of seen) {
    if (!one.isIntersecting) continue;
    watcher.unobserve(one.target);
    one.target.src = pictures[one.target.dataset.key] || "";
  }
}, { rootMargin: "300px", scrollMargin: "300px" });

/** A picture of the table, enlarged without blur when it is small; words where there is none. */
function picture(key, alt, none) {
  if (!pictures[key]) return make("span", "none", key ? "not in the store" : none);
  const image = make("img");
  image.dataset.key = key;
  image.alt = alt;
  image.decoding = "async";
  image.addEventListener("load", () => { if (image.naturalWidth <= 160) image.classList.add("pixel"); });
  watcher.observe(image);
  return image;
}
