// Code by Zapier, event Run JavaScript. Input Data: id, title, url, created_at, resolved_at, service and token.
const response = await fetch("https://incidents.example.com/api/incidents.upsert", {
  method: "POST",
  headers: { Authorization: `Bearer ${inputData.token}`, "Content-Type": "application/json" },
  body: JSON.stringify({
    reference_id: inputData.id,
    name: inputData.title || undefined, // an absent key keeps what is stored
    source_url: inputData.url || undefined,
    started_at: inputData.created_at,
    resolved_at: inputData.resolved_at || undefined,
    services: inputData.service ? [inputData.service] : undefined,
  }),
});
const body = await response.text();
if (response.status !== 200) throw new Error(`${response.status} ${body}`); // the run fails, and can be replayed
return JSON.parse(body);
