package tidegate;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import org.apache.coyote.AbstractProtocol;
import org.apache.coyote.Processor;
import org.apache.coyote.UpgradeProtocol;
import org.apache.coyote.UpgradeToken;
import org.apache.coyote.http11.upgrade.InternalHttpUpgradeHandler;
import org.apache.coyote.http11.upgrade.UpgradeGroupInfo;
import org.apache.coyote.http11.upgrade.UpgradeProcessorExternal;
import org.apache.coyote.http11.upgrade.UpgradeProcessorInternal;
import org.apache.juli.logging.Log;
import org.apache.juli.logging.LogFactory;
import org.apache.tomcat.util.net.SSLHostConfig;
import org.apache.tomcat.util.net.SocketWrapperBase;

/**
 * Tidegate as Tomcat's connector: {@code <Connector protocol="tidegate.TidegateProtocol" port="8080"/>}.
 *
 * <p>Attributes that Tomcat has keep their names and units. Those that do nothing here are reported: by Tomcat, as unknown,
 * or by this class.
 */
public class TidegateProtocol extends AbstractProtocol<Object> {
    private static final Log log = LogFactory.getLog(TidegateProtocol.class);

    /** The most fields of a request that can be allowed. */
    private static final int HEADER_COUNT_MAX = 128;

    private final Endpoint own;
    private final Map<String, UpgradeGroupInfo> upgradeGroups = new ConcurrentHashMap<>();

    public TidegateProtocol() {
        this(new Endpoint());
    }

    private TidegateProtocol(Endpoint endpoint) {
        super(endpoint);
        own = endpoint;
    }

    @Override
    protected Log getLog() {
        return log;
    }

    @Override
    protected String getNamePrefix() {
        return "tidegate";
    }

    @Override
    protected String getProtocolName() {
        return "HTTP";
    }

    @Override
    public boolean isSendfileSupported() {
        return true;
    }

    @Override
    protected Processor createProcessor() {
        return new Exchange(getAdapter());
    }

    @Override
    protected Processor createUpgradeProcessor(SocketWrapperBase<?> channel, UpgradeToken token) {
        ((Channel) channel).upgradeTo(token.getHttpUpgradeHandler());
        UpgradeGroupInfo group = upgradeGroups.computeIfAbsent(token.getProtocol(), name -> new UpgradeGroupInfo());
        if (token.getHttpUpgradeHandler() instanceof InternalHttpUpgradeHandler) {
            return new UpgradeProcessorInternal(channel, token, group);
        }
        return new UpgradeProcessorExternal(channel, token, group);
    }

    @Override
    protected UpgradeProtocol getNegotiatedProtocol(String name) {
        return null;
    }

    @Override
    protected UpgradeProtocol getUpgradeProtocol(String name) {
        return null;
    }

    @Override
    public void addUpgradeProtocol(UpgradeProtocol protocol) {
        log.warn("This connector speaks HTTP/1.1 only: " + protocol.getClass().getName() + " has no effect");
    }

    @Override
    public UpgradeProtocol[] findUpgradeProtocols() {
        return new UpgradeProtocol[0];
    }

    @Override
    public void addSslHostConfig(SSLHostConfig config) {
        addSslHostConfig(config, false);
    }

    @Override
    public void addSslHostConfig(SSLHostConfig config, boolean replace) {
        throw new UnsupportedOperationException("this connector has no TLS: let a proxy before it have it");
    }

    @Override
    public SSLHostConfig[] findSslHostConfigs() {
        return new SSLHostConfig[0];
    }

    /** Stops accepting, and lets what is in flight come to its end. */
    @Override
    public void closeServerSocketGraceful() {
        own.drain();
    }

    @Override
    public long awaitConnectionsClose(long milliseconds) {
        return own.awaitEnd(milliseconds);
    }

    @Override
    public void resume() throws Exception {
        super.resume();
        own.resumeReading();
    }

    @Override
    public void pause() throws Exception {
        super.pause();
        own.pauseReading();
    }

    /** Knows only what has a setter here: a property that does nothing is one to be told of. */
    @Override
    public boolean setProperty(String name, String value) {
        return false;
    }

    // Attributes that Tomcat's base class takes, and that do nothing here.

    private static void ignore(String name, String reason) {
        log.warn("The attribute " + name + " has no effect with this connector: " + reason);
    }

    @Override
    public void setAcceptCount(int acceptCount) {
        if (acceptCount != getAcceptCount()) {
            ignore("acceptCount", "the system's net.core.somaxconn bounds what waits to be accepted");
        }
    }

    @Override
    public void setTcpNoDelay(boolean tcpNoDelay) {
        if (!tcpNoDelay) {
            ignore("tcpNoDelay", "what there is to send is sent at once");
        }
    }

    @Override
    public void setConnectionLinger(int connectionLinger) {
        if (connectionLinger >= 0) {
            ignore("connectionLinger", "a connection is closed once its client has what it is owed, or no longer takes it");
        }
    }

    @Override
    public void setThreadPriority(int threadPriority) {
        if (threadPriority != Thread.NORM_PRIORITY) {
            ignore("threadPriority", "Linux has one for all threads");
        }
    }

    @Override
    public void setAcceptorThreadPriority(int threadPriority) {
        if (threadPriority != Thread.NORM_PRIORITY) {
            ignore("acceptorThreadPriority", "there is no such thread");
        }
    }

    @Override
    public void setMaxQueueSize(int maxQueueSize) {
        if (maxQueueSize != getMaxQueueSize()) {
            ignore("maxQueueSize", "no more than 1,024 requests wait for a thread, and others are not read");
        }
    }

    @Override
    public void setExecutor(Executor executor) {
        if (executor != null) {
            ignore("executor", "its own threads call servlets: see threads, maxThreads and useVirtualThreads");
        }
    }

    /** Sets the number of threads that call servlets; 1 has the thread of the event loop do it. */
    public void setThreads(int threads) {
        own.setInline(threads == 1);
        setMaxThreads(threads);
    }

    public int getThreads() {
        return own.isInline() ? 1 : getMaxThreads();
    }

    public void setUseVirtualThreads(boolean useVirtualThreads) {
        own.setUseVirtualThreads(useVirtualThreads);
    }

    public boolean getUseVirtualThreads() {
        return own.getUseVirtualThreads();
    }

    public void setBindOnInit(boolean bindOnInit) {
        own.setBindOnInit(bindOnInit);
    }

    public boolean getBindOnInit() {
        return own.getBindOnInit();
    }

    @Override
    public void setMaxConnections(int maxConnections) {
        super.setMaxConnections(maxConnections);
        own.set("maxConnections", maxConnections < 0 ? Integer.MAX_VALUE / 2 : maxConnections);
    }

    @Override
    public void setConnectionTimeout(int milliseconds) {
        super.setConnectionTimeout(milliseconds);
        own.setTime("connectionTimeout", milliseconds);
        own.setTime("bodyTimeout", milliseconds);
        own.setTime("keepAliveTimeout", getKeepAliveTimeout());
    }

    @Override
    public void setKeepAliveTimeout(int milliseconds) {
        super.setKeepAliveTimeout(milliseconds);
        own.setTime("keepAliveTimeout", milliseconds);
    }

    @Override
    public void setMaxHeaderCount(int maxHeaderCount) {
        super.setMaxHeaderCount(maxHeaderCount);
        if (maxHeaderCount < 0 || maxHeaderCount > HEADER_COUNT_MAX) {
            log.warn("maxHeaderCount is " + HEADER_COUNT_MAX + ", the most that this connector can have");
        }
        own.set("maxHeaderCount", maxHeaderCount < 0 ? HEADER_COUNT_MAX : Math.min(maxHeaderCount, HEADER_COUNT_MAX));
    }

    /** Sets the most bytes of a request's head. */
    public void setMaxHttpHeaderSize(int bytes) {
        own.set("maxHttpRequestHeaderSize", bytes);
    }

    /** Sets the most bytes of a request's head. */
    public void setMaxHttpRequestHeaderSize(int bytes) {
        own.set("maxHttpRequestHeaderSize", bytes);
    }

    /** Sets the most bytes of a request line. */
    public void setMaxRequestLineSize(int bytes) {
        own.set("maxRequestLineSize", bytes);
    }

    /** Sets how long, in milliseconds, a servlet may take to begin its answer; then the client gets 504. 0: for ever. */
    public void setRequestTimeout(long milliseconds) {
        own.setRequestTimeout(milliseconds);
    }

    public long getRequestTimeout() {
        return own.getRequestTimeout();
    }

    /** Sets how long, in milliseconds, a client may take nothing of what it is owed. */
    public void setWriteTimeout(long milliseconds) {
        own.setTime("writeTimeout", milliseconds);
    }

    /** Sets how long, in milliseconds, what is in flight may take when the connector stops. */
    public void setDrainTimeout(long milliseconds) {
        own.setDrainTimeout(milliseconds);
    }

    /** Sets how long, in milliseconds, a WebSocket may be silent in both directions. */
    public void setTunnelTimeout(long milliseconds) {
        own.setTime("tunnelTimeout", milliseconds);
    }

    /**
     * Sets the address on which the connector shows its status, for this machine only: {@code 127.0.0.1:9000}, or
     * {@code unix:} and a path.
     */
    public void setStatus(String address) {
        own.set("status", address);
    }

    /** Sets the most bytes of one response that wait for its client before the thread that makes them has to wait. */
    public void setResponseMemory(long bytes) {
        own.set("responseMemory", bytes);
    }

    /** Sets the most bytes of a request's content. */
    public void setMaxRequestSize(long bytes) {
        own.set("maxRequestSize", bytes < 0 ? Long.MAX_VALUE : bytes);
    }

    /**
     * Sets the most bytes of content that are collected before a servlet is called. Longer content, and content in chunks if
     * this is 0, is read by the servlet as it comes, which holds a thread for as long as the client takes. -1: all is collected.
     */
    public void setMaxCollectedSize(long bytes) {
        own.set("maxCollectedSize", bytes < 0 ? Long.MAX_VALUE : bytes);
    }

    /** Sets the most bytes of content of one request that are kept in memory. */
    public void setBodyMemory(long bytes) {
        own.set("bodyMemory", bytes);
    }

    /** Sets the most bytes that are held for all connections together. */
    public void setMaxMemory(long bytes) {
        own.set("maxMemory", bytes);
    }

    /** Sets the most bytes of content of all requests in temporary files. */
    public void setMaxSpool(long bytes) {
        own.set("maxSpool", bytes);
    }

    /** Sets the value of the Server field. */
    public void setServer(String server) {
        own.set("server", server);
    }
}
