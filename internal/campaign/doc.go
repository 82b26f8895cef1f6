// Package campaign is Postern's domain: campaigns, contacts, recipients and
// deliveries, their states, the legal transitions between them, and the one
// error type that crosses package borders. It imports the standard library
// only; it knows neither HTTP, nor a database, nor SMTP.
package campaign
