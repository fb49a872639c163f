// Classify inputs in Node and in headless Chromium, and print what both say as JSON.
//
//     npm test -- '[["a warm film"], ["dull"]]' [PICTURE.png]
//
// CHROMIUM names the browser; default /usr/bin/chromium. The page's second half runs with the network switched off.
import * as transformers from '@huggingface/transformers';
import { chromium } from 'playwright-core';
import { load } from './classify.mjs';
import { serve } from './serve.mjs';

const inputs = JSON.parse(process.argv[2] ?? '[["a warm, funny and moving film"], ["dull from beginning to end"]]');
const picture = process.argv[3];

async function inNode(dtype) {
  const classify = await load(transformers, new URL('.', import.meta.url).pathname, { dtype });
  return Promise.all(inputs.map((texts) => classify(...texts)));
}

async function inBrowser() {
  const server = await serve();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const context = await browser.newContext({ viewport: { width: 760, height: 420 } });
    const page = await context.newPage();
    const elsewhere = [];
    page.on('request', (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol.startsWith('http') && host !== `127.0.0.1:${server.address().port}`) elsewhere.push(request.url());
    });
    page.on('pageerror', (error) => console.error(error));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForSelector('#first:enabled', { timeout: 60_000 });
    const answers = [];
    for (const [number, [first, second]] of inputs.entries()) {
      if (number === Math.floor(inputs.length / 2)) await context.setOffline(true);
      if (second !== undefined) await page.fill('#second', second);
      await page.fill('#first', first);
      await page.waitForFunction((text) => document.getElementById('answer').dataset.of === text, first.trim());
      answers.push(await page.$$eval('#answer .row', (rows) => rows.map(({ dataset }) => ({ label: dataset.label, score: Number(dataset.score) }))));
    }
    if (picture) await page.screenshot({ path: picture });
    return { answers, elsewhere };
  } finally {
    await browser.close();
    server.close();
  }
}

console.log(JSON.stringify({ node: { fp32: await inNode('fp32'), q8: await inNode('q8') }, browser: await inBrowser() }));
