// Package dynamo keeps Postern's state in DynamoDB: the contract of package
// store, shared by any number of tasks.
//
// # Tables
//
// All are PAY_PER_REQUEST, and their names stand behind a prefix. Tables
// defines them. Times are RFC 3339 text in EmailContacts and EmailCampaigns,
// which people and older programs read, and Unix milliseconds elsewhere.
//
// EmailContacts, key email (the address in lower case): email_as_given,
// status, tags, created_at, updated_at, email_count, last_email_sent,
// last_campaign, and each field of the caller's under its own name. Items that
// another program wrote are read as they are; ones whose key has an upper-case
// letter move to the lower-cased key when the first task opens the table.
//
// EmailCampaigns, key campaign_id: campaign_name, status, reason, notice,
// subject, from_email, from_name, reply_to_email, reply_to_name, body and
// attachments (references to content), smtp_server, smtp_port, smtp_use_tls,
// smtp_username, smtp_default, smtp_password_sealed (ciphertext, until the
// campaign ends), audience (the packed selection, or text where it is kept as
// content), source_vpce, created_at, updated_at, started_at, finished_at,
// create_digest (what the call that made it was).
//
// EmailDeliveries, key chunk (as the pk of its lease) and i (index in the
// chunk): a address, s state, t attempts, r reply, m message id, u updated at,
// n next attempt at.
//
// EmailWork, key pk and sk:
//
//	pk                        sk           what
//	c#<campaign>#<number>     lease        a lease; number 0 is the control lease
//	c#<campaign>#<number>     audience     a: the packed audience of a chunk
//	t#<campaign>              00 to 31     a shard of the totals
//	b#<campaign>#<digest>#<n> content      b: a piece of content, n: how many there are
//	k#<hash of the key>       reservation  an Idempotency-Key
//	a#<campaign>              reservation  the same for a call without one
//	campaigns                 <campaign>   a place in the listing of campaigns
//	adopted                   EmailContacts  mixed-case keys have been dealt with
//
// A lease has o owner, f fence, v version, w the stamp of the last write, x
// closed, n size, s settled (bitmap), d deferred (deflated JSON), fc fk ff the
// freeze's cursor, chunks and final, and due_shard and due_at. Those two are
// the key of the index "due" (8 shards, keys only); closed leases do not have
// them and are not in it. Totals have total, chunks, done, final, one counter
// for each terminal state, u changed at. A reservation has c campaign, d digest
// of the request, s state, m pieces, and expires_at, by which DynamoDB deletes
// it (TTL).
//
// # How it keeps the contract
//
// A write to a lease has the condition that fence and version are as its
// holder has seen them, and leaves a stamp: a hash of the call's name and
// arguments. When the condition does not hold, the item that DynamoDB returns
// with the refusal tells whether the write that moved the version on was this
// very call, whose answer was lost, or another. What belongs to the write
// (rows, totals, a chunk) is in one transaction with it, so nothing is counted
// twice however often a call is made.
//
// # Permissions
//
// On the tables GetItem, BatchGetItem, PutItem, UpdateItem, DeleteItem, Query
// and Scan, and Query on the index. Making tables needs DescribeTable,
// CreateTable, DescribeTimeToLive and UpdateTimeToLive besides.
//
// # Cost
//
// A checkpoint of 98 rows takes 200 write units: 2 a row, 2 for the lease, 2
// for the totals (a transaction doubles each). Freezing takes 2 a kilobyte of
// packed audience, about 0.15 a recipient; the statistics of a finished chunk
// 1 for each contact of up to a kilobyte. So a recipient takes about 2.2 write
// units, and 1 more for the statistics. A partition takes 1,000 a second:
// leases and rows are spread by chunk, content by piece. The totals of a
// campaign share one partition, whose 2 units a checkpoint are enough for
// about 49,000 recipients a second.
package dynamo
