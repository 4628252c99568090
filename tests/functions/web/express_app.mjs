// An Express application behind serverless-http, with the routes of tests/gateway/test_frameworks.py.
import express from "express";
import serverless from "serverless-http";

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0xff]);
const app = express();
app.use(express.json(), express.urlencoded({ extended: false }), express.raw({ type: "multipart/form-data" }));

app.get("/pets/:id", (req, res) => {
  res.json({ id: req.params.id, color: req.query.color ?? null, agent: req.get("X-Agent") ?? null });
});
app.post("/pets", (req, res) => {
  res.cookie("a", "1").cookie("b", "2").status(201).json(req.body);
});
app.post("/upload", async (req, res) => {
  const form = await new Response(req.body, { headers: { "Content-Type": req.get("Content-Type") } }).formData();
  const file = form.get("file");
  res.json({ name: file.name, size: (await file.arrayBuffer()).byteLength, note: form.get("note") });
});
app.post("/form", (req, res) => {
  res.json({ name: req.body.name });
});
app.get("/image", (req, res) => {
  res.type("image/png").send(PNG);
});
app.get("/old", (req, res) => {
  res.redirect(302, "/pets/1");
});
app.get("/cookies", (req, res) => {
  const pairs = (req.get("Cookie") ?? "").split("; ").map((pair) => pair.split("="));
  res.json(Object.fromEntries(pairs));
});
app.get("/boom", (req, res) => {
  res.status(500).send("boom");
});

export const handler = serverless(app, { binary: ["image/*"] });
