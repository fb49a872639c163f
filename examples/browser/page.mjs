import * as transformers from '@huggingface/transformers';
import { load } from './classify.mjs';

const here = new URL('.', location.href).pathname;
const [first, second, answer, state] = ['first', 'second', 'answer', 'state'].map((id) => document.getElementById(id));

const config = await (await fetch('student/config.json')).json();
second.hidden = config.zskd_texts !== 2;
const began = performance.now();
const classify = await load(transformers, here, { wasm: `${here}node_modules/onnxruntime-web/dist/` }).catch((error) => {
  state.textContent = `The model could not be loaded: ${error.message}`;
  throw error;
});
state.textContent = `The model was loaded in ${((performance.now() - began) / 1000).toFixed(1)} s.`;
first.disabled = false;
first.focus();

let latest = 0;
async function show() {
  const own = ++latest;
  const text = first.value.trim();
  const began = performance.now();
  const classes = text ? await classify(text, second.hidden ? undefined : second.value.trim()) : [];
  if (own !== latest) return; // more has been typed in the meantime
  answer.replaceChildren(...classes.map(row));
  if (text) state.textContent = `${(performance.now() - began).toFixed(1)} ms`;
  answer.dataset.of = text;
}

function row({ label, score }) {
  const line = document.createElement('div');
  line.className = 'row';
  line.dataset.label = label;
  line.dataset.score = score;
  const bar = Object.assign(document.createElement('div'), { className: 'bar' });
  bar.append(Object.assign(document.createElement('span'), { style: `width: ${100 * score}%` }));
  const number = Object.assign(document.createElement('span'), { className: 'number', textContent: `${(100 * score).toFixed(1)} %` });
  line.append(label, bar, number);
  return line;
}

for (const field of [first, second]) field.addEventListener('input', show);
