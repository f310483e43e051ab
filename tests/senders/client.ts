// A client that is generated from docs/openapi.yaml, as its users write it: what does not compile, or gets another response than its
// type says, is a fault of the description. INCIDENTS_URL and INCIDENTS_TOKEN name the worker.
import createClient from "openapi-fetch";
import type { paths } from "./openapi.js";

declare const process: { env: Record<string, string> };

const client = createClient<paths>({
  baseUrl: process.env.INCIDENTS_URL.replace(/\/$/, ""),
  headers: { Authorization: `Bearer ${process.env.INCIDENTS_TOKEN}` },
});

function expect(what: string, actual: unknown, expected: unknown) {
  if (actual !== expected) throw new Error(`${what}: ${actual} instead of ${expected}`);
}

const incident = {
  reference_id: "generated-1",
  started_at: "2024-01-01T11:22:33Z",
  name: null,
  services: ["checkout", { identifier: "payments-api", name: "Payments" }],
  metadata: { cause: { kind: "deploy" }, numbers: [1, { two: null }] },
};

const created = await client.POST("/incidents.upsert", { body: incident });
const action: "created" | "updated" | "unchanged" | undefined = created.data?.action;
expect("upsert", action, "created");

const synced = await client.POST("/incidents.sync", { body: { ...incident, services: ["checkout"] } });
expect("sync", synced.data?.action, "updated");

const form = await client.POST("/incidents.upsert", {
  body: { reference_id: "generated-2", started_at: "2024-01-01", services: '["checkout"]' },
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
  bodySerializer: (body) => new URLSearchParams(body as Record<string, string>).toString(),
});
expect("a form", form.data?.reference_id, "generated-2");

const refused = await client.POST("/incidents.upsert", { body: { ...incident, started_at: "yesterday" } });
expect("a refusal", refused.error?.error, "invalid_timestamp");
expect("its status", refused.response.status, 422);

for (const reference_id of ["generated-1", "generated-2"]) {
  const deleted = await client.POST("/incidents.delete", { body: { reference_id }, headers: { "X-Request-Id": "generated" } });
  expect("delete", deleted.data?.action, "deleted");
  expect("its id", deleted.response.headers.get("X-Request-Id"), "generated");
}

expect("healthz", (await client.GET("/healthz")).data?.ok, true);
expect("readyz", (await client.HEAD("/readyz")).response.status, 200);
