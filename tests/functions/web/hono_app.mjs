// A Hono application behind its own adapter, with the routes of tests/gateway/test_frameworks.py.
import { Hono } from "hono";
import { handle } from "hono/aws-lambda";
import { getCookie, setCookie } from "hono/cookie";

const PNG = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0xff]);
const app = new Hono();

app.get("/pets/:id", (c) =>
  c.json({ id: c.req.param("id"), color: c.req.query("color") ?? null, agent: c.req.header("X-Agent") ?? null }),
);
app.post("/pets", async (c) => {
  setCookie(c, "a", "1");
  setCookie(c, "b", "2");
  return c.json(await c.req.json(), 201);
});
app.post("/upload", async (c) => {
  const form = await c.req.parseBody();
  const file = form.file;
  return c.json({ name: file.name, size: (await file.arrayBuffer()).byteLength, note: form.note });
});
app.post("/form", async (c) => c.json({ name: (await c.req.parseBody()).name }));
app.get("/image", (c) => c.body(PNG, 200, { "Content-Type": "image/png" }));
app.get("/old", (c) => c.redirect("/pets/1", 302));
app.get("/cookies", (c) => c.json(getCookie(c)));
app.get("/boom", (c) => c.text("boom", 500));

export const handler = handle(app);
